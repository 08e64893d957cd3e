"""QMF: weigh each sample's logits by their energy, and train the energy to be higher where a modality errs less.

Zhang, Wu, Zhang, Hu, Fu, Zhou and Peng, "Provable Dynamic Fusion for Low-Quality Multimodal Data", ICML 2023, arXiv
2306.02050. With kappa_im the sum over training of modality m's cross-entropies on sample i, scaled to [0, 1]:

    o   = sum_m c_m o_m,    c_m = logsumexp(o_m) / 10                    (mmbal/decision/rules/qmf.py)
    L   = CE(o, y) + sum_m [ CE(o_m, y) + lambda R_m ]
    R_m = mean_i max(0, s_ij (c_im - c_jm) + |kappa_im - kappa_jm|),     s_ij = sign(kappa_im - kappa_jm),
          j the sample after i in the batch, the first after the last

Deviations: the paper's margin is added, so that c falls where the loss is larger; the public code subtracts it, which leaves
a dead zone in which even a wrong order costs nothing (`margin = code`). c is constant in CE(o, y), as in the public code for
text and images; in that for RGB and depth it is not (`detach = false`), and lambda is 0.1. kappa is scaled over the rows
seen so far; the code counts unseen rows as 0 and divides 0 by 0 where all are equal. A pair is of two samples that have m.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmbal.data.store.loader import Batch
from mmbal.decision.rules.qmf import energy_confidence
from mmbal.methods.base import Phase, Run
from mmbal.methods.parts.weighed import WeighedLogits
from mmbal.models.multimodal import Output
from mmbal.models.whole_batch import WholeBatch
from mmbal.registry import methods


def scaled_history(history: Tensor) -> Tensor:
    """``kappa (N,)`` in [0, 1], of the sums of losses ``(N,)``; rows with a sum of 0 were not seen and set no end."""
    seen = history[history > 0]
    if not len(seen):
        return torch.zeros_like(history)
    low, high = seen.min(), seen.max()
    return ((history - low) / (high - low).clamp(min=torch.finfo(history.dtype).tiny)).clamp(0, 1)


def rank_loss(confidence: Tensor, kappa: Tensor, margin: Literal["paper", "code"] = "paper") -> Tensor:
    """``R`` of the confidences ``c (B,)`` and the scaled losses ``kappa (B,)`` of one modality."""
    gap = kappa - kappa.roll(-1)
    apart = gap.abs() if margin == "paper" else -gap.abs()
    return (gap.sign() * (confidence - confidence.roll(-1)) + apart).relu().mean()


@methods.register(
    family="decision layer",
    year=2023,
    paper="2306.02050",
    needs={"additive"},
    status="with stated deviations",
    off={"weigh": False, "own": 0.0, "rank": 0.0},
)
class QMF(WeighedLogits):
    """Weighs logits by their energy, which a ranking loss ties to the losses so far."""

    history: Tensor

    class Config(WeighedLogits.Config):
        rank: float = Field(1.0, ge=0, description="lambda: weight of the ranking loss; 0.1 in the code for RGB-D")
        margin: Literal["paper", "code"] = Field(
            "paper", description="the margin is added, or subtracted (public code)"
        )
        detach: bool = Field(True, description="hold c constant in the fused loss")

    def setup(self, run: Run) -> None:
        if self.config.rank > 0:
            size = len(self.model.modalities), len(run.train.store)
            self.register_buffer("history", torch.zeros(size, device=run.device))

    def weights(self, output: Output) -> Tensor:
        logits, present = output.stacked()
        return energy_confidence(logits.detach() if self.config.detach else logits) * present

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if self.config.rank == 0:
            return found
        whole = WholeBatch(batch.index, len(run.train.store), run.sum)
        labels = whole.gather(batch.labels)
        for history, m in zip(self.history, self.model.modalities, strict=True):
            there = whole.gather(output.present[m])
            if not bool(there.any()):
                continue
            logits, rows = whole.gather(output.logits[m].float())[there], whole.rows[there]
            loss = cross_entropy(logits.detach(), labels[there], reduction="none")
            history[rows] += whole.times[there] * loss
            rank = rank_loss(energy_confidence(logits), scaled_history(history)[rows], self.config.margin)
            found[f"rank/{m}"] = self.config.rank * rank
            run.log(f"confidence/{m}", energy_confidence(logits.detach()).mean())
        return found
