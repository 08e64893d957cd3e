"""LFM: align the modalities' decisions at first, and give the labels more weight over time.

Yang, Wan, Jiang and Xu, "Facilitating Multimodal Classification via Dynamically Learning Modality Gap", NeurIPS 2024,
openreview.net/forum?id=QbsPz0SnyV. With t the epoch, of 200:

    L   = a CE(o, y) + (1 - a) mean_{m < k} JS(softmax(o_m), softmax(o_k))
    a   = .2046 + 3.35e-3 t + 1.23e-4 t^2 - 2.93e-6 t^3 + 2.24e-8 t^4 - 5.40e-11 t^5,     from .20 to .91

Deviations: the paper aligns modalities by contrastive learning; the divergence and the polynomial are those of the public
code for CREMA-D, where o is the mean of the modalities' logits and the loss is twice as large (`fused = mean`), and where
JS has the arguments of its divergences the wrong way round: (KL(mean, p) + KL(mean, q)) / 2, which is not bounded
(`gap = reversed`). t is 200 times the share of the epochs that is over. The second strategy, which moves a along a
Hessian-vector product of the first parameter tensor alone, is not offered; `schedule = constant` fixes a. For M > 2 the
divergence is the mean over the pairs that the sample has.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.divergences import jensen_shannon
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.multimodal import Output
from mmbal.registry import methods

EPOCHS = 200  # of the public code, whose polynomial counts them
# All digits count: with three, a is off by up to 0.013.
POLYNOMIAL = (2.04623704e-1, 3.35472727e-3, 1.22989557e-4, -2.92947416e-6, 2.23835486e-8, -5.39717505e-11)


def label_weight(progress: float) -> float:
    """``a`` when a share ``progress`` of the training is over."""
    t = EPOCHS * progress
    return min(1.0, max(0.0, sum(c * t**power for power, c in enumerate(POLYNOMIAL))))


def modality_gap(logits: Mapping[str, Tensor], present: Mapping[str, Tensor], backwards: bool = False) -> Tensor:
    """Mean divergence ``(B,)``, in nats, over the pairs of modalities that a row has; zero where it has no pair."""
    log_p = {m: o.log_softmax(dim=1) for m, o in logits.items()}
    both = {(m, k): (present[m] & present[k]).to(log_p[m].dtype) for m, k in combinations(sorted(log_p), 2)}
    apart = [(_reversed if backwards else jensen_shannon)(log_p[m], log_p[k]) * there for (m, k), there in both.items()]
    return torch.stack(apart).sum(dim=0) / torch.stack(list(both.values())).sum(dim=0).clamp(min=1)


def _reversed(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(KL(m, p) + KL(m, q)) / 2 with m the mean of p and q: ``(B,)``."""
    mean = (log_p.exp() + log_q.exp()) / 2
    return (mean * (mean.log() - (log_p + log_q) / 2)).sum(dim=-1)


@methods.register(
    family="loss weighting",
    year=2024,
    paper="openreview.net/forum?id=QbsPz0SnyV",
    status="with stated deviations",
    off={"schedule": "constant", "weight": 1.0},
)
class LFM(Method):
    """Weighs fitting the labels against agreeing with one another, by a schedule."""

    at_least = 2

    class Config(Config):
        schedule: Literal["polynomial", "constant"] = Field("polynomial", description="how a goes with the epochs")
        weight: float = Field(0.5, ge=0, le=1, description="a, where the schedule is constant; 1: joint training")
        fused: Literal["fusion", "mean"] = Field(
            "fusion", description="o: the fusion's, or the mean of the logits with a loss twice as large (public code)"
        )
        gap: Literal["js", "reversed"] = Field("js", description="divergence: Jensen-Shannon, or the public code's")

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        config = self.config
        constant = config.schedule == "constant"
        weight = config.weight if constant else label_weight(run.epoch / run.epochs)
        run.log("label_weight", weight)
        scale = 2.0 if config.fused == "mean" else 1.0
        found = {name: scale * weight * loss for name, loss in super().losses(output, batch, phase, run).items()}
        if weight < 1:
            apart = modality_gap(output.logits, output.present, config.gap == "reversed")
            found["gap"] = scale * (1 - weight) * apart.mean()
        return found

    def fuse(self, output: Output) -> Output:
        return output if self.config.fused == "fusion" else output.averaged()
