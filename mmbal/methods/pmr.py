"""PMR: pull the features of the modality behind towards class prototypes; at first, keep the modality ahead uncertain.

Fan, Xu, Wang, Wang and Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023, arXiv 2211.07089.

    p_m   = softmax_c(-||z_m - c_m^c||)              c_m^c: the prototype of class c, a mean feature
    s_m   = mean_i p_m[i, y_i]
    L     = CE(o, y) + alpha sum_m b_m CE(p_m, y) - mu sum_m d_m H(p_m)        H: entropy, in the first epochs
    b_m   = clip(max_k s_k / s_m - 1, 0, 1),   d_m = clip(s_m / min_k s_k - 1, 0, 1)
    c_m  <- (1 - momentum) fresh + momentum c_m      before each epoch, fresh: class means over a share of the batches

Deviations: for M = 2, b and d are the paper's clip(rho - 1, 0, 1) and clip(1 / rho - 1, 0, 1); for M > 2 each modality is
compared with the best and with the worst. The public code has b = 1 for the modality behind and 0 for the other
(`coefficient = hard`) and no entropy term; the sizes of `mu` and `entropy_epochs` are ours. A class that no sample of the
share has makes its prototype NaN there; here it keeps its last one, and a class without any takes no part. Fresh means are
taken in evaluation mode, as there, at the start of an epoch. A sample without a modality counts in none of its terms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import masked_cross_entropy
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.prototypes import RunningPrototypes
from mmbal.models.whole_batch import mean_over
from mmbal.registry import methods

UNSEEN = -1e4  # logit of a class that has no prototype yet


def similarities(features: Tensor, prototypes: Tensor, seen: Tensor) -> Tensor:
    """Minus the Euclidean distances ``(B, C)`` of features ``(B, D)`` from prototypes ``(C, D)`` of the ``seen`` classes."""
    # Not torch.cdist: its shortcut for many rows loses the digits of small distances.
    gap = features[:, None] - prototypes[None]
    return -(gap.square().sum(dim=-1) + 1e-12).sqrt().masked_fill(~seen, -UNSEEN)


def coefficients(scores: Mapping[str, float], hard: bool = False) -> tuple[dict[str, float], dict[str, float]]:
    """``b_m`` of the modalities behind and ``d_m`` of those ahead, each by modality, for the scores ``s_m``."""
    best, worst = max(scores.values(), default=0.0), min(scores.values(), default=0.0)

    def lead(one: float, other: float) -> float:
        if hard:
            return float(one > other)
        return min(max(one / other - 1, 0.0), 1.0) if other > 0 else float(one > 0)

    return {m: lead(best, s) for m, s in scores.items()}, {m: lead(s, worst) for m, s in scores.items()}


@methods.register(
    family="gradient modulation",
    year=2023,
    paper="2211.07089",
    status="with stated deviations",
    off={"alpha": 0.0, "mu": 0.0},
)
class PMR(Method):
    """Adds the loss of the prototypes' decision for modalities that lag, and entropy for those ahead."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(1.0, ge=0, description="alpha: weight of the prototypes' losses; published: 1 to 1.75")
        mu: float = Field(0.1, ge=0, description="mu: weight of the entropy of the modality ahead; 0 in public code")
        entropy_epochs: int = Field(5, ge=0, description="E_r: first epochs, in which the entropy counts")
        momentum: float = Field(0.2, ge=0, lt=1, description="what prototypes keep of their last value; code: 0.2")
        share: float = Field(0.1, gt=0, le=1, description="share of an epoch's batches behind the fresh class means")
        coefficient: Literal["soft", "hard"] = Field("soft", description="b and d: the paper's, or the code's 0 and 1")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        classes, keep = model.fusion.classes, self.config.momentum
        self.active = self.config.alpha > 0 or self.config.mu > 0
        self.prototypes = nn.ModuleDict({m: RunningPrototypes(classes, d, keep) for m, d in model.fusion.dims.items()})

    @torch.no_grad()
    def on_epoch_start(self, run: Run) -> None:
        if self.active:
            batches = islice(run.train.epoch(run.epoch), math.ceil(self.config.share * len(run.train)))
            with evaluating(self.model):
                outputs = [(self.model(b), b) for b in (b.to(run.device) for b in batches)]
            for m in self.model.modalities:
                self.known(m).update(*self.rows(m, outputs), run.sum)

    @staticmethod
    def rows(m: str, outputs: Iterable[tuple[Output, Batch]]) -> tuple[Tensor, Tensor, Tensor]:
        """Features of m, labels and presence of all samples."""
        found = [(output.features[m], batch.labels, output.present[m]) for output, batch in outputs]
        features, labels, present = zip(*found, strict=True)
        return torch.cat(features), torch.cat(labels), torch.cat(present)

    def known(self, m: str) -> RunningPrototypes:
        """The prototypes of a modality."""
        return cast(RunningPrototypes, self.prototypes[m])

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if not self.active:
            return found
        known = {m: self.known(m) for m in output.features}
        near = {m: similarities(z.float(), known[m].mean, known[m].seen) for m, z in output.features.items()}
        there = {m: p & known[m].seen[batch.labels] for m, p in output.present.items()}
        scores = true_class_confidence(near, batch.labels, there, run.sum)
        behind, ahead = coefficients(scores, self.config.coefficient == "hard")
        for m, logits in near.items():
            run.log(f"prototype_weight/{m}", behind.get(m, 0.0))
            loss = masked_cross_entropy(logits, batch.labels, there[m])
            found[f"prototype/{m}"] = self.config.alpha * behind.get(m, 0.0) * loss
            if self.config.mu and run.epoch < self.config.entropy_epochs:
                log = logits.log_softmax(dim=1)
                entropy = mean_over(-(log.exp() * log).sum(dim=1), there[m])
                found[f"entropy/{m}"] = -self.config.mu * ahead.get(m, 0.0) * entropy
        return found
