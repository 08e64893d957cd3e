"""AIM: the outputs of an encoder's stages, recorded in its forward pass, in one layout for all encoders."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmbal.models.encoders import Encoder
from mmbal.models.modes import evaluating


def watch(encoder: Encoder, visit: Callable[[int, Tensor], None]) -> list[RemovableHandle]:
    """Call ``visit(depth, units)`` whenever a stage has run.

    ``units (N, ..., W)`` has the stage's W channels last; N is the batch, times the frames where there are frames.
    Returns the handles by which to stop.
    """

    def hook(depth: int) -> Callable[[nn.Module, object, Tensor], None]:
        def passing(stage: nn.Module, inputs: object, output: Tensor) -> None:
            visit(depth, output.movedim(1 if output.dim() == 4 or isinstance(stage, nn.Conv1d) else -1, -1))

        return passing

    return [stage.register_forward_hook(hook(depth)) for depth, stage in enumerate(encoder.stages)]


@torch.no_grad()
def widths(encoder: Encoder, inputs: Tensor) -> list[int]:
    """The number of channels of each stage, found by sending ``inputs (B, ...)`` through in evaluation mode."""
    found: dict[int, int] = {}
    handles = watch(encoder, lambda depth, units: found.update({depth: units.shape[-1]}))
    with evaluating(encoder):
        encoder(inputs)
    for handle in handles:
        handle.remove()
    return [found[depth] for depth in sorted(found)]


def by_sample(units: Tensor, samples: int) -> Tensor:
    """The mean over everything but sample and channel: ``(N, ..., W)`` to ``(samples, W)``."""
    return units.reshape(samples, -1, units.shape[-1]).mean(dim=1)


def stage_at(depth: int, depths: int, stages: int) -> int:
    """Which of ``stages`` (from 0) lies at ``depth`` (from 0) of ``depths``: the first that reaches as deep."""
    return math.ceil((depth + 1) * stages / depths) - 1


class AlignedStages:
    """What several encoders give in training below their features, stages being matched by relative depth.

    There are as many depths as the deepest encoder has stages; ``dims[d][m]`` is m's number of channels at a depth before
    the last. ``inputs`` are a few samples of each modality.
    """

    def __init__(self, encoders: Mapping[str, Encoder], inputs: Mapping[str, Tensor]) -> None:
        found = {m: widths(encoder, inputs[m]) for m, encoder in encoders.items()}
        depths = max(len(w) for w in found.values())
        self._stages = [{m: stage_at(d, depths, len(w)) for m, w in found.items()} for d in range(depths - 1)]
        self.dims = [{m: found[m][stage] for m, stage in stages.items()} for stages in self._stages]
        self._given: dict[tuple[str, int], Tensor] = {}
        for m, encoder in encoders.items():
            watch(encoder, partial(self._keep, m))

    def _keep(self, m: str, stage: int, units: Tensor) -> None:
        if torch.is_grad_enabled():
            self._given[m, stage] = units

    def take(self, samples: int) -> list[dict[str, Tensor]]:
        """Units ``(samples, W)`` of the last batch, by depth and modality; they are given once."""
        units = [{m: by_sample(self._given[m, s], samples) for m, s in stages.items()} for stages in self._stages]
        self._given = {}
        return units
