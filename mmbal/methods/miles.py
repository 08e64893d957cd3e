"""MILES: lower the learning rate of the encoder on which the joint decision depends more than on the others.

After Guerra-Manzanares and Shamout, "MILES: Modality-Informed Learning Rate Scheduler for Balancing Multimodal Learning",
IJCNN 2025, arXiv 2510.17394; our instantiation, since its formulas could not be obtained. Before each epoch, on the
validation split:

    u_m  = (A - A_without m) / A                    conditional utilisation of m: what the accuracy loses without it
    lr_m = mu lr  where u_m - mean_{k != m} u_k > tau,   else lr

Deviations: the abstract says that learning rates follow the differences in conditional utilisation from epoch to epoch, and
no official code is public. The threshold tau, the factor mu and their defaults are ours, and so is the mean over the others
for M > 2. u comes from the validation split, never from the test split. A modality is taken away by zeroing its feature,
which is what a missing modality is everywhere in this program.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.methods.base import Method, Run
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.registry import methods


def utilisation(accuracy: float, without: Tensor) -> Tensor:
    """``u_m (M,)`` of the accuracy with all modalities and those ``without (M,)`` each; 0 where the former is 0."""
    return (accuracy - without) / accuracy if accuracy > 0 else torch.zeros_like(without)


def rate_factors(used: Tensor, threshold: float, factor: float) -> Tensor:
    """Factors ``(M,)`` on the learning rates: ``factor`` for those used more than the others by over ``threshold``."""
    others = (used.sum() - used) / max(len(used) - 1, 1)
    return torch.where(used - others > threshold, factor, 1.0)


@methods.register(family="learning rates", year=2025, paper="2510.17394", status="our instantiation", off={"mu": 1.0})
class MILES(Method):
    """Scales the learning rate of the modality that is used most."""

    at_least = 2

    class Config(Config):
        tau: float = Field(0.2, ge=0, description="tau: difference in utilisation from which a rate is lowered")
        mu: float = Field(
            0.5, ge=0, le=1, description="mu: factor on the learning rate of the over-used modality; 1: none"
        )

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)

    @torch.no_grad()
    def on_epoch_start(self, run: Run) -> None:
        if self.config.mu == 1:
            return
        outputs = run.evaluate(run.validation)
        right = torch.zeros(1 + len(self.names), device=run.device)
        for output, batch in outputs:
            decisions = [output, *(self.model.without(output, {m}) for m in self.names)]
            right += torch.stack([(d.fused.argmax(dim=1) == batch.labels).sum() for d in decisions])
        accuracy, *without = (right / sum(len(batch) for _, batch in outputs)).tolist()
        used = utilisation(accuracy, torch.tensor(without))
        factors = rate_factors(used, self.config.tau, self.config.mu)
        for m, u, factor in zip(self.names, used.tolist(), factors.tolist(), strict=True):
            run.log(f"utilisation/{m}", u)
            run.log(f"learning_rate_factor/{m}", factor)
            run.scale_learning_rate(f"encoders.{m}", factor)
