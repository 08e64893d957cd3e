"""Unimodal teachers that are made in the run itself; `g2d` and `umt` learn from them.

In the first `teacher_epochs` epochs every encoder and head learns alone. Then the model starts again from where it began,
and what was trained becomes the teachers, frozen.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, Stage, own_losses
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import mean_over

TEACHERS = "teachers"


def feature_distance(student: Tensor, teacher: Tensor, present: Tensor) -> Tensor:
    """Mean squared difference of features ``(B, D)`` over the rows that have the modality."""
    return mean_over((student - teacher).square().mean(dim=1), present)


class Taught(Method):
    """Base of methods with teachers; a subclass implements :meth:`taught_losses`, and has `teacher_epochs` in its Config."""

    at_least = 2

    boundary: Tensor  # the student's first epoch; a run that is resumed for longer keeps it

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.register_buffer("boundary", torch.tensor(0))
        if self.config.teacher_epochs != 0:
            # The model as the student starts; from the student's first epoch on, as the teachers ended.
            self.kept = copy.deepcopy(model).requires_grad_(False)

    def setup(self, run: Run) -> None:
        wanted = run.epochs // 3 if self.config.teacher_epochs is None else self.config.teacher_epochs
        self.boundary.fill_(min(wanted, run.epochs - 1))
        if self.config.teacher_epochs != 0:
            self.kept.load_state_dict(self.model.state_dict())  # that of a run to start from, if any

    def stages(self, epochs: int) -> list[Stage]:
        parts = [Stage(TEACHERS, self.first), Stage("student", epochs - self.first)]
        return [stage for stage in parts if stage.epochs]

    @property
    def first(self) -> int:
        """The student's first epoch; 0 where there are no teachers."""
        return int(self.boundary)

    def on_epoch_start(self, run: Run) -> None:
        if self.first and run.epoch == self.first:
            trained = copy.deepcopy(self.model.state_dict())
            self.model.load_state_dict(self.kept.state_dict())
            self.kept.load_state_dict(trained)

    @torch.no_grad()
    def taught(self, batch: Batch) -> Output:
        """The teachers' outputs for a batch."""
        with evaluating(self.kept):
            taught: Output = self.kept(batch)
            return taught

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        if run.epoch < self.first:
            return own_losses(output, batch.labels, 1.0)
        found = super().losses(output, batch, phase, run)
        return found | self.taught_losses(output, self.taught(batch), batch, run) if self.first else found

    def taught_losses(self, output: Output, teachers: Output, batch: Batch, run: Run) -> dict[str, Tensor]:
        """What the student learns from the teachers, beside its loss on the labels."""
        raise TypeError(f"{type(self).__name__} defines no taught_losses")
