"""MLB: add the modalities' own losses, and scale each encoder's gradients so that confidences become equal.

Kontras, Chatzichristos, Blaschko and De Vos, "Improving Multimodal Learning with Multi-Loss Gradient Modulation",
BMVC 2024, arXiv 2405.07930.

    L     = CE(o, y) + lambda sum_m CE(o_m, y)
    s_m   = mean_i softmax(o_m)[i, y_i],   rho_m = (mean of s_k over k != m) / s_m
    k_m   = 1 + (beta - 1) tanh(alpha (rho_m - 1))  where rho_m > 1,   else 1 + tanh(alpha (rho_m - 1))
    g_m  <- k_m g_m                                  for the gradients of encoder m

A modality that is behind is sped up to at most beta times, and one that is ahead is slowed down. Near equal confidence all
k_m are near 1, so the balancing phases out by itself.

Deviations: beta = 2 gives the symmetric 1 + tanh(...); larger values are "mode 2" of the public code. That code scales the
encoders' gradients of all losses (`scale = encoders`); `scale = losses` multiplies the modalities' own losses by k_m
instead. Its rule for three modalities is the one above for any M. A sample without m does not count in s_m.
"""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.base import Method, Phase, Run, own_losses, scale_gradients
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def modulation(scores: Mapping[str, float], alpha: float, beta: float = 2.0) -> dict[str, float]:
    """``k_m`` for each modality's score ``s_m``, within [0, beta]; 1 for a single one."""

    def factor(m: str) -> float:
        others = [score for name, score in scores.items() if name != m]
        if not others or alpha == 0:
            return 1.0
        mean = sum(others) / len(others)
        ahead = mean / scores[m] - 1 if scores[m] > 0 else math.inf if mean > 0 else 0.0
        return 1 + (beta - 1 if ahead > 0 else 1.0) * math.tanh(alpha * ahead)

    return {m: factor(m) for m in scores}


@methods.register(
    family="gradient modulation",
    year=2024,
    paper="2405.07930",
    status="with stated deviations",
    off={"alpha": 0.0, "own": 0.0},
)
class MLB(Method):
    """Adds own losses and scales each encoder's gradients by how far its modality is behind."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(0.8, ge=0, description="alpha: how fast k_m leaves 1; 0 never (published: 0.5, 0.8)")
        beta: float = Field(2.0, ge=1, description="beta: largest k_m; 2 is symmetric, published up to 10")
        own: float = Field(1.0, ge=0, description="lambda: weight of the modalities' own losses")
        starts: int = Field(0, ge=0, description="first epoch of modulation")
        ends: int | None = Field(None, ge=0, description="epoch where modulation ends; none: never")
        scale: Literal["encoders", "losses"] = Field("encoders", description="what k_m multiplies")

    def factors(self, output: Output, batch: Batch, run: Run) -> dict[str, float]:
        """``k_m`` of a batch; none outside the epochs of modulation."""
        if run.epoch < self.config.starts or (self.config.ends is not None and run.epoch >= self.config.ends):
            return {}
        scores = true_class_confidence(output.logits, batch.labels, output.present, run.sum)
        found = modulation(scores, self.config.alpha, self.config.beta)
        for m, factor in found.items():
            run.log(f"modulation/{m}", factor)
        return found

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        own = own_losses(output, batch.labels, self.config.own)
        if self.config.scale == "losses":
            factors = self.factors(output, batch, run)
            own = {name: factors.get(name.removeprefix("own/"), 1.0) * loss for name, loss in own.items()}
        return super().losses(output, batch, phase, run) | own

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        if self.config.scale == "encoders":
            for m, factor in self.factors(output, batch, run).items():
                scale_gradients(self.model.encoders[m], factor)
