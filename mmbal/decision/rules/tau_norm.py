"""Tau-normalised weights: takes the norms of the decision weights out, by class and modality.

    o_c = sum_m  W_m[c] . z_m / ||W_m[c]||^tau

Reference: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020,
arXiv 1910.09217.

The head's bias is dropped, as in the paper and its code; ``bias = true`` adds it (rules stored by mmbal 0.1.0 did).

Deviations: the paper has one modality. Here every block W_m[c] is normalised alone, so that neither a class nor a
modality wins by the length of its weights. The paper picks tau on validation data. Here tau is given, or it is the
value with the lowest NLL on the calibration rows, from a grid between 0 (the weights as they are) and 1 (unit length).
"""

from typing import Any

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.heads import HeadRule, head_bias
from mmbal.maths.arrays import log_softmax
from mmbal.predictions.format import Predictions
from mmbal.registry import rules

GRID = tuple(np.linspace(0, 1, 11).tolist())


def normalise(weight: Any, tau: float) -> Any:
    """Rows of ``(C, D)``, an array or a tensor, divided by their length to the power tau; a zero row stays."""
    length = (weight**2).sum(axis=-1, keepdims=True) ** 0.5
    return weight / (length + (length == 0)) ** tau


@rules.register(family="head", year=2020, paper="1910.09217", fitted=True, needs={"features", "weight"})
class TauNorm(HeadRule):
    """The model's own head with shortened weights."""

    class Config(Config):
        tau: float | None = Field(None, ge=0, le=1, description="tau: 0 weights as they are, 1 rows of unit length")
        bias: bool = Field(False, description="whether the head's bias is added; the paper drops it")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        cls.need(predictions, "features", "weight")
        rows = np.arange(len(predictions))
        bias = head_bias(predictions) if config.bias else np.zeros(len(predictions.classes))

        def loss(tau: float) -> float:
            scores = sum(predictions.features[m] @ normalise(w, tau).T for m, w in predictions.weight.items()) + bias
            return float(-log_softmax(scores, axis=-1)[rows, predictions.labels].mean())

        tau = min(GRID, key=loss) if config.tau is None else config.tau
        weights = {f"weight_{m}": normalise(w, tau) for m, w in predictions.weight.items()}
        return {"tau": np.array(tau), "bias": bias, **weights}

    def explain(self) -> str:
        return f"The head's weights divided by their length to the power {float(self.parameters['tau']):g}."
