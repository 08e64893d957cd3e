"""ReconBoost: modalities take turns; each learns from the errors of the others, then all are tuned jointly.

Hua, Xu, Bao, Yang and Huang, "ReconBoost: Boosting Can Achieve Modality Reconcilement", ICML 2024, arXiv 2405.09321.
In a turn of modality m, with q = softmax(sum_{k != m} o_k) held constant and m' the modality of the turn before:

    L_m = -mean_i (w_1 - w_2 q[y]) log softmax(o_m)[y] / C  +  alpha mean_ic (softmax(o_m) - softmax(o_m'))^2
    L   = CE(sum_m o_m, y)                                      in a turn of all modalities, after each turn of one

Deviations: w_1, w_2 and the division by the number of classes C are those of the public code, whose mean is over entries
(`per_class = false` leaves C out). In that code both arguments of the second term, the memory of the other learner, are
detached, so it has no gradient; here m learns from it. The code loads pretrained encoders: here the first turn is one
of all modalities. A turn is 4 epochs, or fewer where not every modality would get two; turns are counted from the end,
so that the last one is of all modalities. Turns go round the names, for any M. A row without m is left out of m's turn.
"""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_probability
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods


def reconcilement(logits: Tensor, others: Tensor, labels: Tensor, w1: float, w2: float, per_class: bool) -> Tensor:
    """The first term of ``L_m`` by row ``(B,)``, of the logits ``(B, C)`` of m and of the sum of the others' logits."""
    weight = w1 - w2 * true_class_probability(others, labels)
    surprise = -logits.log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    return weight * surprise / (logits.shape[1] if per_class else 1)


def memory(logits: Tensor, previous: Tensor) -> Tensor:
    """The second term by row ``(B,)``: mean square of the differences to the previous learner, which is constant."""
    return (logits.softmax(dim=1) - previous.detach().softmax(dim=1)).square().mean(dim=1)


def turn(epoch: int, epochs: int, length: int, names: Sequence[str]) -> tuple[str | None, str | None]:
    """The modality whose turn an epoch (from 0) is, and that of the turn of one modality before; None: all, or none."""
    if length == 0:
        return None, None
    left, first = (epochs - 1 - epoch) // length, (epochs - 1) // length
    if left % 2 == 0 or left == first:
        return None, None
    position = (left - 1) // 2
    before = names[-1 - (position + 1) % len(names)] if left + 2 < first else None
    return names[-1 - position % len(names)], before


@methods.register(
    family="alternating",
    year=2024,
    paper="2405.09321",
    needs={"additive"},
    status="with stated deviations",
    off={"epochs": 0},
)
class ReconBoost(Method):
    """Boosts one modality on the errors of the others, in turns, and rectifies all of them after each turn."""

    at_least = 2

    class Config(Config):
        epochs: int = Field(4, ge=0, description="most epochs of a turn; 4 in the paper, 0: all modalities always")
        w1: float = Field(5.0, gt=0, description="w_1: weight of the truth")
        w2: float = Field(1.0, ge=0, description="w_2: weight of what the others know already")
        alpha: float = Field(0.5, ge=0, description="alpha: weight of agreeing with the previous learner")
        per_class: bool = Field(True, description="divide by the number of classes, as the public code does")

    def turn(self, run: Run) -> tuple[str | None, str | None]:
        """The modality whose turn it is, and the one before; see :func:`turn`."""
        names = self.model.modalities
        length = min(self.config.epochs, max(1, run.epochs // (4 * len(names))))
        return turn(run.epoch, run.epochs, length, names)

    def phases(self, run: Run) -> Sequence[Phase]:
        m, _ = self.turn(run)
        return [Phase(self.model.modalities if m is None else (m,))]

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        m, before = self.turn(run)
        if m is None:
            return super().losses(output, batch, phase, run)
        there = output.present[m]
        logits, config = output.logits[m], self.config
        own = torch.where(there[:, None], logits, 0.0)
        each = reconcilement(
            logits, (output.fused - own).detach(), batch.labels, config.w1, config.w2, config.per_class
        )
        found = {f"boost/{m}": mean_over(each, there)}
        if before is not None and config.alpha > 0:
            both = there & output.present[before]
            apart = memory(logits, output.logits[before])
            found[f"memory/{m}"] = config.alpha * mean_over(apart, both)
        return found
