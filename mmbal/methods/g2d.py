"""G2D: learn from trained unimodal teachers; the weaker modalities learn alone at first, and the stronger ones join later.

Rakib and Bagavathi, "G2D: Boosting Multimodal Learning with Gradient-Guided Distillation", ICCV 2025, arXiv 2506.21514.

    L    = CE(o, y) + alpha sum_m mean ||z_m - t_m||^2 + beta sum_m T^2 KL(softmax(u_m / T) || softmax(o / T))
    s_m  = mean_i softmax(u_m)[i, y_i]              t_m, u_m: features and logits of m's teacher
    sequential prioritisation: in part j = 1, ..., M - 1 of the window, only the encoders of the j smallest s_m learn

Deviations: the teachers are made in the run, in its first `teacher_epochs` epochs, by own losses; then the model starts
again from where it began. The paper trains them apart. The squared distance is a mean over entries, as in the public code.
That code has two modalities, of which the one with the larger s_m rests; the order for M > 2 is ours. It scales the
gradients of the resting encoder's convolutions by zero, so weight decay and momentum go on and other layers learn
(`scope = conv` chooses the same layers); here what rests gets no step. A sample without m is left out of m's terms. The
checkpoint is of an epoch of the student. Teachers cost one more forward pass of the encoders.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.base import Method, Phase, Run, Stage, own_losses
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods

TEACHERS = "teachers"


def feature_distance(student: Tensor, teacher: Tensor, present: Tensor) -> Tensor:
    """Mean squared difference of features ``(B, D)`` over the rows that have the modality."""
    return ((student - teacher).square().mean(dim=1) * present).sum() / present.sum().clamp(min=1)


def logit_distance(student: Tensor, teacher: Tensor, present: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))`` of logits ``(B, C)``, mean over the same rows."""
    p, q = ((x / temperature).log_softmax(dim=1) for x in (teacher, student))
    return temperature**2 * (((p.exp() * (p - q)).sum(dim=1) * present).sum() / present.sum().clamp(min=1))


def prioritised(scores: Mapping[str, float], progress: float) -> list[str]:
    """The modalities that learn at a point of the window, 0 <= ``progress`` < 1: the weakest first; all from 1 on."""
    parts = max(len(scores) - 1, 1)
    many = len(scores) if progress >= 1 else min(int(progress * parts) + 1, parts)
    return sorted(scores, key=lambda m: (scores[m], m))[:many]


@methods.register(
    family="distillation",
    year=2025,
    paper="2506.21514",
    status="with stated deviations",
    off={"teacher_epochs": 0},
)
class G2D(Method):
    """Distils unimodal teachers and lets encoders learn from the weakest to the strongest."""

    at_least = 2

    class Config(Config):
        teacher_epochs: int | None = Field(
            None, ge=0, description="epochs of the teachers; a third if not set; 0: joint"
        )
        alpha: float = Field(1.0, ge=0, description="alpha: weight of the distance to the teachers' features")
        beta: float = Field(1.0, ge=0, description="beta: weight of the distance to the teachers' decisions")
        temperature: float = Field(1.0, gt=0, description="T: temperature of that distance")
        window: float = Field(
            0.5, ge=0, le=1, description="share of the student's epochs with prioritisation; code: 0.5"
        )
        scope: Literal["all", "conv"] = Field("all", description="what rests: whole encoders, or 4-D parameters (code)")

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
        if not self.first:
            return found
        config, teachers = self.config, self.taught(batch)
        self.scores = true_class_confidence(teachers.logits, batch.labels, output.present, run.sum)
        for m, there in output.present.items():
            distance = feature_distance(output.features[m], teachers.features[m], there)
            found[f"feature/{m}"] = config.alpha * distance
            found[f"logits/{m}"] = config.beta * logit_distance(
                output.fused, teachers.logits[m], there, config.temperature
            )
        return found

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        window = self.config.window * (run.epochs - self.first)
        if not self.first or run.epoch < self.first or run.epoch - self.first >= window:
            return
        learning: Sequence[str] = prioritised(self.scores, (run.epoch - self.first) / window)
        for m in self.scores:
            run.log(f"learns/{m}", float(m in learning))
            for parameter in self.model.encoders[m].parameters() if m not in learning else ():
                if self.config.scope == "all" or parameter.dim() == 4:
                    parameter.grad = None
