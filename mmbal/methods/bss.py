"""BSS: begin with the samples on which the modalities agree and the loss is small, and let in harder ones.

Guan, Jiang and Yang, "Balance-Aware Sequence Sampling Makes Multi-Modal Learning Better", IJCAI 2025, arXiv 2501.01470.

    d_i = scaled(1 - mean_{m < k} cos(p_im, p_ik)) + scaled(L_i),     scaled: to [0, 1] over the training rows
    the first share s of the rows, by d:   s_t = min(1, sqrt((1 - s_0^2)(t + 1) / T + s_0^2))   in epoch t (from 0)
    L_i = a CE(o_i, y_i) + b sum_m CE(o_im, y_i)

Deviations: rows are scored anew as each epoch begins, by the model in evaluation mode. The public code scores once, before
the first step, by an untrained net in training mode (`rescore = false` scores once, in evaluation mode). It decides by the
sum of the modalities' logits, which with an additive fusion is the fused decision; its fused loss (a = .1, b = .9) is that
of another head. s_0 is .1; T is 40 epochs there, of 100: a share of the epochs here. For M > 2 the cosine is the mean over
the pairs that a row has; a row with one modality agrees with itself. The paper's second scheduler, a learned sampling of
rows, is not offered.
"""

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def agreement(logits: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """Mean cosine ``(B,)`` between the decisions of the pairs of modalities that a row has; 1 where it has no pair."""
    pairs = list(combinations(sorted(logits), 2))
    both = torch.stack([present[m] & present[k] for m, k in pairs])
    cosines = [cosine_similarity(logits[m].softmax(1), logits[k].softmax(1), dim=1) for m, k in pairs]
    mean = (torch.stack(cosines) * both).sum(dim=0) / both.sum(dim=0).clamp(min=1)
    return mean.where(both.any(dim=0), 1.0)


def difficulty(agreement: Tensor, loss: Tensor) -> Tensor:
    """``d (N,)``, from 0 to 2, of all rows' agreement and loss ``(N,)``."""

    def scaled(values: Tensor) -> Tensor:
        low, high = values.min(), values.max()
        return (values - low) / (high - low).clamp(min=1e-12)

    return 1 - scaled(agreement) + scaled(loss)


def share(epoch: int, ramp: float, start: float) -> float:
    """``s_t`` of an epoch (from 0) where all rows are let in after ``ramp`` epochs."""
    return min(1.0, math.sqrt((1 - start**2) * (epoch + 1) / ramp + start**2)) if ramp > 0 else 1.0


@methods.register(
    family="curriculum",
    year=2025,
    paper="2501.01470",
    status="with stated deviations",
    off={"fused": 1.0, "unimodal": 0.0, "start": 1.0},
)
class BSS(Method):
    """Trains on a growing share of the rows, in the order of how balanced and how easy they are."""

    at_least = 2

    order: Tensor

    class Config(Config):
        start: float = Field(0.1, gt=0, le=1, description="s_0: share of the rows to begin with; 1: all rows always")
        ramp: float = Field(0.4, ge=0, le=1, description="T: share of the epochs after which all rows are let in")
        fused: float = Field(0.1, ge=0, description="a: weight of the fused loss")
        unimodal: float = Field(0.9, ge=0, description="b: weight of the modalities' own losses")
        rescore: bool = Field(True, description="score the rows in each epoch, not in the first alone")

    def setup(self, run: Run) -> None:
        self.register_buffer("order", torch.from_numpy(run.train.split_rows).clone())

    @torch.no_grad()
    def on_epoch_start(self, run: Run) -> None:
        self.share = share(run.epoch, self.config.ramp * run.epochs, self.config.start)
        if self.share == 1 or (run.epoch > 0 and not self.config.rescore):
            return
        scores = torch.zeros(2, len(run.train.store), dtype=torch.double, device=run.device)
        for output, batch in run.evaluate(run.train, run.epoch):
            each = self.config.fused * cross_entropy(output.fused, batch.labels, reduction="none")
            for m, o in output.logits.items():
                own = cross_entropy(o, batch.labels, reduction="none") * output.present[m]
                each = each + self.config.unimodal * own
            scores[0, batch.index] = agreement(output.logits, output.present).double()
            scores[1, batch.index] = each.double()
        rows = torch.from_numpy(run.train.split_rows).to(run.device)
        found = difficulty(*run.sum(scores)[:, rows])
        run.log("difficulty", found.mean())
        self.order.copy_(rows[found.argsort(stable=True)])

    def sampler(self, run: Run) -> np.ndarray | None:
        if self.share == 1:
            return None
        run.log("rows", self.share)
        chosen: np.ndarray = self.order[: max(2, int(self.share * len(self.order)))].cpu().numpy()
        return chosen

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        fused = super().losses(output, batch, phase, run) if self.config.fused > 0 else {}
        own = own_losses(output, batch.labels, self.config.unimodal)
        return {name: self.config.fused * loss for name, loss in fused.items()} | own
