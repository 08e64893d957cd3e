"""Tau-normalisation: train jointly, and take the lengths of the decision weights out of the decision.

Kang, Xie, Rohrbach, Yan, Gordo, Feng and Kalantidis, "Decoupling Representation and Classifier for Long-Tailed Recognition",
ICLR 2020, arXiv 1910.09217. The loss is that of joint training; the decision in the test is

    o_c = sum_m  W_m[c] . z_m / ||W_m[c]||^tau              (mmbal/decision/rules/tau_norm.py)

The paper picks tau on validation data. So does this method after each epoch, by the lowest mean NLL on the validation split,
over 0, 0.1, ..., 1, where `tau` is not set.

Deviations: the paper has one modality. Here every block W_m[c] is normalised alone, so that neither a class nor a modality
wins by the length of its weights. The bias is dropped in the test, as in the paper and its code; `bias = true` keeps it. The
public code goes to tau = 2. The figures of the validation split are of the rows that picked tau.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.decision.rules.tau_norm import GRID, normalise
from mmbal.methods.base import Method, Run
from mmbal.models.fusion import LinearFusion
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def normalised_part(features: Tensor, weight: Tensor, tau: float) -> Tensor:
    """``z W[c] / ||W[c]||^tau (B, C)`` of features ``(B, D)`` and decision weights ``(C, D)``."""
    return features @ cast(Tensor, normalise(weight, tau)).T


@methods.register(
    family="decision layer",
    year=2020,
    paper="1910.09217",
    needs={"additive"},
    status="with stated deviations",
    off={"tau": 0.0, "bias": True},
)
class TauNorm(Method):
    """Trains jointly, and divides the decision weights by a power of their lengths in the test."""

    tau: Tensor

    class Config(Config):
        tau: float | None = Field(
            None, ge=0, le=2, description="tau: 0 as they are, 1 unit length; by validation if not set"
        )
        bias: bool = Field(False, description="keep the bias in the test; the paper drops it")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.register_buffer("tau", torch.tensor(self.config.tau or 0.0))

    def on_epoch_end(self, run: Run) -> None:
        if self.config.tau is None:
            found = run.evaluate(run.validation)
            labels = torch.cat([batch.labels for _, batch in found])

            def loss(tau: float) -> float:
                scores = torch.cat([self.decided(output, tau).fused for output, _ in found])
                return float(cross_entropy(scores, labels))

            with torch.no_grad():
                self.tau.fill_(min(GRID, key=loss))
        run.log("tau", self.tau)

    def decided(self, output: Output, tau: float) -> Output:
        """The decision under ``tau``."""
        head = cast(LinearFusion, self.model.fusion)
        parts = {m: normalised_part(z, head.weight(m), tau) for m, z in output.features.items()}
        if self.config.bias:
            parts = {m: part + head.bias(m) for m, part in parts.items()}
        return output.with_contributions(parts)

    def predict(self, output: Output) -> Output:
        return self.decided(output, float(self.tau))
