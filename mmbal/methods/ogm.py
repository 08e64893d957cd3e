"""OGM: slow the encoder of the modality that is ahead, by how far it is ahead, anew in each step.

Peng, Wei, Deng, Wang and Hu, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022, arXiv 2203.15332;
Wei, Hu, Du and Wen, "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024, arXiv 2410.11582.

    s_m = sum_i softmax(o_m)[i, y_i],   rho_m = s_m / s_other
    k_m = 1 - tanh(alpha rho_m) where rho_m > 1, else 1
    g_m <- k_m g_m                      for the gradients of encoder m; the head learns at full speed

Deviations: for M modalities the other side of the ratio is the smallest score, which is the paper's for M = 2. The step
of k at rho = 1, from 1 to 1 - tanh(alpha), is the paper's. At a tie nothing is slowed (the public code slows one side).
Scores are means over the rows that have the modality. The paper scales every encoder parameter (`scope = all`), the
public code only convolutions (`scope = conv`).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def modulation(scores: Mapping[str, float], alpha: float, weak_gain: float = 1.0) -> dict[str, float]:
    """``k_m`` for each modality's score ``s_m``; all 1 where the scores are equal."""
    weakest = min(scores.values(), default=0.0)
    if weakest == max(scores.values(), default=0.0):
        return dict.fromkeys(scores, 1.0)

    def factor(score: float) -> float:
        if score == weakest:
            return weak_gain
        if alpha == 0:
            return 1.0
        return 1.0 - math.tanh(alpha * score / weakest) if weakest > 0 else 0.0

    return {m: factor(score) for m, score in scores.items()}


@methods.register(
    family="gradient modulation", year=2022, paper="2203.15332", status="exact", off={"alpha": 0.0}
)
class OGM(Method):
    """Scales the encoders' gradients by how far each modality is ahead."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(0.8, ge=0, description="alpha: how hard the modality ahead is slowed; 0 never")
        starts: int = Field(0, ge=0, description="first epoch of modulation")
        ends: int | None = Field(None, ge=0, description="epoch where modulation ends; none: never (50 in public code)")
        scope: Literal["all", "conv"] = Field("all", description="parameters: all (paper), or 4-D ones (public code)")
        weak_gain: float = Field(1.0, gt=0, description="factor on the weakest modality (4 in the code of 2410.11582)")

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        config = self.config
        if run.epoch < config.starts or (config.ends is not None and run.epoch >= config.ends):
            return
        scores = true_class_confidence(output.logits, batch.labels, output.present, run.sum)
        for m, factor in modulation(scores, config.alpha, config.weak_gain).items():
            run.log(f"modulation/{m}", factor)
            self.modulate(m, factor, run)

    def modulate(self, m: str, factor: float, run: Run) -> None:
        """Scale the gradients of encoder m in place."""
        for gradient in self.gradients(m):
            gradient.mul_(factor)

    def gradients(self, m: str) -> Iterator[Tensor]:
        """The gradients of encoder m that are in scope."""
        for parameter in self.model.encoders[m].parameters():
            if parameter.grad is not None and (self.config.scope == "all" or parameter.grad.dim() == 4):
                yield parameter.grad
