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

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.base import Phase, Run
from mmbal.methods.parts.teachers import Taught, feature_distance
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods


def logit_distance(student: Tensor, teacher: Tensor, present: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(softmax(teacher / T) || softmax(student / T))`` of logits ``(B, C)``, mean over the same rows."""
    p, q = ((x / temperature).log_softmax(dim=1) for x in (teacher, student))
    return temperature**2 * mean_over((p.exp() * (p - q)).sum(dim=1), present)


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
class G2D(Taught):
    """Distils unimodal teachers and lets encoders learn from the weakest to the strongest."""

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

    def taught_losses(self, output: Output, teachers: Output, batch: Batch, run: Run) -> dict[str, Tensor]:
        config, found = self.config, {}
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
