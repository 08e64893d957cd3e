"""The mean of the processes' gradients, summed in buckets while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmbal.engine.distributed import Processes, gradient_group, together
from mmbal.engine.optimiser import is_dense

BUCKET = 2**22  # numbers, 16 MiB of float32: large enough for the network, small enough to start early


class Bucket:
    """Some parameters, their gradients side by side in one tensor, and its sum over processes once that has begun."""

    def __init__(self, parameters: Sequence[nn.Parameter], places: Sequence[int]) -> None:
        self.parameters, self.places = list(parameters), list(places)
        first = parameters[0]
        self.flat = torch.empty(sum(p.numel() for p in parameters), dtype=first.dtype, device=first.device)
        parts = self.flat.split([p.numel() for p in parameters])
        self.views = [_laid_out_as(p, part) for part, p in zip(parts, parameters, strict=True)]
        self.work: Any = None
        self.ready = 0

    def launch(self, share: float) -> None:
        """Begin to sum ``share`` times the gradients; a parameter without one adds nothing."""
        for view, parameter in zip(self.views, self.parameters, strict=True):
            view.zero_() if parameter.grad is None else view.copy_(parameter.grad)
        self.work = dist.all_reduce(self.flat.mul_(share), group=gradient_group(), async_op=True)

    def collect(self, reached: Sequence[bool]) -> None:
        """Wait for the sum, which becomes the gradient of the parameters that were ``reached`` in some process."""
        if self.work is not None:
            self.work.wait()
            for view, parameter, place in zip(self.views, self.parameters, self.places, strict=True):
                parameter.grad = view if reached[place] else None
        self.work, self.ready = None, 0


def _laid_out_as(parameter: nn.Parameter, part: Tensor) -> Tensor:
    """A view of ``part`` with the parameter's shape and, where it has no gaps, its order in memory (channels last)."""
    return part.as_strided(parameter.shape, parameter.stride()) if is_dense(parameter) else part.view_as(parameter)


class GradientAverage:
    """Leaves in ``parameters`` the gradient of the whole batch: the processes' mean, by the samples that each has.

    Every process sums the same buckets in the same order, those first whose gradients a backward pass finds first.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], processes: Processes) -> None:
        self.processes = processes
        self._parameters = list(parameters) if processes.world > 1 else []
        self._buckets = _buckets(self._parameters)
        self._of = {p: bucket for bucket in self._buckets for p in bucket.parameters}
        self._share: float | None = None  # of the batch, while a backward pass is watched
        self._next = 0
        self._hooks = [p.register_post_accumulate_grad_hook(self._arrived) for p in self._parameters]

    def watch(self, share: float) -> None:
        """Begin to sum what the next backward pass finds; it must be the only one of the step."""
        self._share = share

    def finish(self, share: float) -> None:
        """Sum what is not summed yet, wait, and put the means in place; ``share`` is that of the batch."""
        if not self._parameters:
            return
        with together():
            device = self._parameters[0].device
            found = torch.tensor([float(p.grad is not None) for p in self._parameters], device=device)
            reached = (self.processes.sum(found) > 0).tolist()
            for bucket in self._buckets[self._next :]:
                if any(reached[place] for place in bucket.places):
                    bucket.launch(share)
            for bucket in self._buckets:
                bucket.collect(reached)
        self._share, self._next = None, 0

    def close(self) -> None:
        """Watch the parameters no more."""
        for hook in self._hooks:
            hook.remove()

    def _arrived(self, parameter: Tensor) -> None:
        if self._share is None:
            return
        self._of[parameter].ready += 1  # type: ignore[index]
        while self._next < len(self._buckets):
            bucket = self._buckets[self._next]
            if bucket.ready < len(bucket.parameters):
                break
            with together():
                bucket.launch(self._share)
            self._next += 1


def _buckets(parameters: Sequence[nn.Parameter]) -> list[Bucket]:
    """Buckets of one type and device each, from the last parameter to the first, as a backward pass reaches them."""
    found: list[Bucket] = []
    some: list[int] = []

    def close() -> None:
        if some:
            found.append(Bucket([parameters[place] for place in some], some))
            some.clear()

    for place in reversed(range(len(parameters))):
        new, last = parameters[place], parameters[some[-1]] if some else None
        full = sum(parameters[k].numel() for k in some) + new.numel() > BUCKET
        if last is not None and (full or (new.dtype, new.device) != (last.dtype, last.device)):
            close()
        some.append(place)
    close()
    return found
