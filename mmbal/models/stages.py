"""What the stages of an encoder give, watched and changed in passing, in one layout for all encoders."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmbal.models.encoders import Encoder

Visit = Callable[[int, Tensor], "Tensor | None"]


def watch(encoder: Encoder, visit: Visit) -> list[RemovableHandle]:
    """Call ``visit(depth, units)`` whenever a stage has run; what it returns, if not None, takes the output's place.

    ``units (N, ..., W)`` has the stage's W channels last; N is the batch, times the frames where there are frames.
    Returns the handles by which to stop.
    """

    def hook(depth: int) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
        def passing(stage: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
            channels = 1 if output.dim() == 4 or isinstance(stage, nn.Conv1d) else -1
            changed = visit(depth, output.movedim(channels, -1))
            return None if changed is None else changed.movedim(-1, channels)

        return passing

    return [stage.register_forward_hook(hook(depth)) for depth, stage in enumerate(encoder.stages)]


@torch.no_grad()
def widths(encoder: Encoder, inputs: Tensor) -> list[int]:
    """The number of channels of each stage, found by sending ``inputs (B, ...)`` through in evaluation mode."""
    found: dict[int, int] = {}
    handles = watch(encoder, lambda depth, units: found.update({depth: units.shape[-1]}))
    training = encoder.training
    encoder.eval()(inputs)
    encoder.train(training)
    for handle in handles:
        handle.remove()
    return [found[depth] for depth in sorted(found)]


def by_sample(units: Tensor, samples: int) -> Tensor:
    """The mean over everything but sample and channel: ``(N, ..., W)`` to ``(samples, W)``, without gradient."""
    return units.detach().reshape(samples, -1, units.shape[-1]).mean(dim=1)
