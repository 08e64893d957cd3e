"""OGM-GE: slow the encoder of the modality that is ahead, and give back with noise the generalisation that this costs.

Peng, Wei, Deng, Wang and Hu, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022, arXiv 2203.15332.

    s_m = sum_i softmax(o_m)[i, y_i],   rho_m = s_m / s_other
    k_m = 1 - tanh(alpha * rho_m) where rho_m > 1, else 1
    g_m <- k_m g_m + h_m,               h_m ~ N(0, std(g_m)^2)                        (GE; without h: OGM)

Deviations: for M modalities the other side of the ratio is the smallest score, which is the paper's for M = 2. The step
of k at rho = 1, from 1 to 1 - tanh(alpha), is the paper's. At a tie nothing is slowed (the public code slows one side).
h has the spread of each gradient tensor's entries before scaling, in every modality, as in the public code; the
covariance of the paper is over samples, of which a batch gives one. The paper scales every encoder parameter
(`scope = all`), the public code only convolutions (`scope = conv`). `weak_gain` is a factor on the weak side that
the code of the TPAMI version applies without a word (4 there); the paper has none.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.loader import Batch
from mmbal.methods.base import Method, Phase, Run, require_modalities
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def true_class_scores(output: Output, labels: Tensor) -> dict[str, Tensor]:
    """``s_m``: the probability of the true class by modality m alone, summed over the batch's rows that have m."""
    rows = torch.arange(len(labels), device=labels.device)
    return {m: (o.softmax(dim=-1)[rows, labels] * output.present[m]).sum() for m, o in output.logits.items()}


def modulation(scores: dict[str, float], alpha: float, weak_gain: float = 1.0) -> dict[str, float]:
    """``k_m`` for each modality's score ``s_m``."""
    weakest, strongest = min(scores.values()), max(scores.values())

    def factor(score: float) -> float:
        if score == weakest:
            return 1.0 if weakest == strongest else weak_gain
        if alpha == 0:
            return 1.0
        return 1.0 - math.tanh(alpha * score / weakest) if weakest > 0 else 0.0

    return {m: factor(score) for m, score in scores.items()}


@methods.register(
    family="gradient modulation",
    year=2022,
    paper="2203.15332",
    needs=set(),
    status="exact",
    off={"alpha": 0.0, "noise": False},
)
class OGMGE(Method):
    """Scales the encoders' gradients by how far each modality is ahead."""

    class Config(Config):
        alpha: float = Field(0.8, ge=0, description="alpha: how hard the modality ahead is slowed; 0 never")
        noise: bool = Field(True, description="GE: add Gaussian noise to the encoders' gradients")
        starts: int = Field(0, ge=0, description="first epoch of modulation")
        ends: int | None = Field(
            None, ge=0, description="epoch at which modulation ends; none: never (50 in the public code)"
        )
        scope: Literal["all", "conv"] = Field(
            "all", description="parameters scaled: all (paper) or 4-D ones (public code)"
        )
        weak_gain: float = Field(1.0, gt=0, description="factor on the weakest modality (4 in the code of 2410.11582)")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        require_modalities(self)

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        config = self.config
        if run.epoch < config.starts or (config.ends is not None and run.epoch >= config.ends):
            return
        scores = {m: float(run.sum(s)) for m, s in true_class_scores(output, batch.labels).items()}
        for m, factor in modulation(scores, config.alpha, config.weak_gain).items():
            run.log(f"modulation/{m}", factor)
            for parameter in self.model.encoders[m].parameters():
                gradient = parameter.grad
                if gradient is None or (config.scope == "conv" and gradient.dim() != 4):
                    continue
                spread = gradient.std(unbiased=False) if config.noise else None
                gradient.mul_(factor)
                if spread is not None:
                    gradient.add_(torch.randn_like(gradient) * spread)
