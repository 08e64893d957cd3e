"""MNL: per sample, the modality that is sure of the true class teaches the others which wrong classes to leave out.

Gong, Gao, Zhu, Hu and Cao, "Multimodal Negative Learning", NeurIPS 2025, arXiv 2510.20877.

    L    = CE(o, y) + sum_m CE(o_m, y) + sum_n mean_i N_n,i                    o = mean_m o_m
    N_n  = -lambda sum_{k != y} p_g[k] log p_n[k]      where a modality g guides n in the sample, else 0
    g guides n:   p_g[y] > p_n[y]   and   o_g[y] - o_g[j] > o_n[y] - o_n[j],      j the most likely wrong class of o

p_g is a constant; the guide is the robust dominant modality of the sample, n an inferior one. p_n may keep its own view of
the true class.

Deviations: for M > 2 a modality has as its target the mean of p_g over all that guide it. The paper trains a first stage
without N; `warm_up` is its length, which the public code does not have. That code also adds CE(o_n, y) once more for guided
samples, divides both terms by the number of classes, and lets the second modality guide at a tie (`terms = code`, without
the tie). `fused = fusion` keeps the model's own decision in place of the mean. A sample without m has no part in m's terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def guides(
    logits: Mapping[str, Tensor], fused: Tensor, labels: Tensor, present: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """``[n][g] (B,)``: whether g guides n, of logits ``(B, C)`` and classes ``(B,)``; both must be there."""
    true = labels[:, None]
    wrong = fused.scatter(1, true, -torch.inf).argmax(dim=1, keepdim=True)
    sure = {m: o.softmax(dim=1).gather(1, true).squeeze(1) for m, o in logits.items()}
    margin = {m: (o.gather(1, true) - o.gather(1, wrong)).squeeze(1) for m, o in logits.items()}
    return {
        n: {
            g: (sure[g] > sure[n]) & (margin[g] > margin[n]) & present[g] & present[n] for g in sorted(logits) if g != n
        }
        for n in sorted(logits)
    }


def negative_loss(logits: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
    """``-sum_{k != y} p_g[k] log p_n[k]`` of n's logits ``(B, C)`` and the guide's probabilities ``(B, C)``: ``(B,)``."""
    others = guide.scatter(1, labels[:, None], 0.0)
    return -(others * logits.log_softmax(dim=1)).sum(dim=1)


@methods.register(
    family="distillation",
    year=2025,
    paper="2510.20877",
    status="with stated deviations",
    off={"negative": 0.0, "own": 0.0, "fused": "fusion"},
)
class MNL(Method):
    """Own losses, and negative guidance by the modality that is ahead in a sample."""

    at_least = 2

    class Config(Config):
        negative: float = Field(0.7, ge=0, le=4, description="lambda: weight of the guidance; 0.7 in the public code")
        own: float = Field(1.0, ge=0, le=4, description="weight of the modalities' own losses; 1 in the paper")
        warm_up: int = Field(0, ge=0, description="epochs before the guidance")
        fused: Literal["mean", "fusion"] = Field("mean", description="o: the mean of the logits, or the fusion's")
        terms: Literal["paper", "code"] = Field("paper", description="guidance of the paper or of the public code")

    def fuse(self, output: Output) -> Output:
        return output.averaged() if self.config.fused == "mean" else output

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        config, labels = self.config, batch.labels
        found = super().losses(output, batch, phase, run) | own_losses(output, labels, config.own)
        if config.negative == 0 or run.epoch < config.warm_up:
            return found
        logits = output.logits
        guiding = guides({m: o.detach() for m, o in logits.items()}, output.fused.detach(), labels, output.present)
        for n, by in guiding.items():
            weight = torch.stack([by[g] for g in sorted(by)]).to(logits[n])  # (M - 1, B)
            target = torch.stack([logits[g].detach().softmax(dim=1) for g in sorted(by)])
            guide = (weight[..., None] * target).sum(dim=0) / weight.sum(dim=0).clamp(min=1)[:, None]
            loss = config.negative * negative_loss(logits[n], guide, labels)
            guided = weight.amax(dim=0)
            if config.terms == "code":
                own = -logits[n].log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
                loss = (loss + guided * own) / logits[n].shape[1]
            run.log(f"guided/{n}", guided.mean())
            found[f"negative/{n}"] = loss.mean()
        return found
