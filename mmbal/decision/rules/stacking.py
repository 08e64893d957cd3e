"""Stacking: a multinomial logistic regression on the log-probabilities of all modalities.

    log p(c) = sum_mj F_mjc log p_m(j) + b_c + const,    minimise NLL + |F|^2 / (2 C)

Reference: Wolpert, "Stacked generalization", Neural Networks 1992. The regression does not know what its inputs mean:
it is shrunk towards the uniform answer, not towards the modalities' consensus, and needs more rows for it. It is
scikit-learn's LogisticRegression, but with two classes, where that has one vector of coefficients instead of two.
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mmbal.config import Config as Settings
from mmbal.decision.base import Rule, unimodal
from mmbal.maths.arrays import AnyArray, log_softmax
from mmbal.maths.loglinear import Design, maximum_a_posteriori
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


@rules.register(family="linear", year=1992, paper="Wolpert 1992", fitted=True)
class Stacking(Rule):
    """Logistic regression on the decisions."""

    warm: ClassVar[bool] = True

    class Config(Settings):  # mypy takes a base of the same name for a cycle here
        C: float = Field(1.0, gt=0, description="C: prior variance of a coefficient (scikit-learn's default)")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any, start: Rule | None = None) -> dict[str, np.ndarray]:
        mask = predictions.present_mask()
        log_p = np.stack([log_softmax(predictions.logits[m], axis=-1) for m in predictions.modalities], axis=1)
        n, _, c = log_p.shape
        none = np.zeros((n, 0, c), log_p.dtype)
        design = Design(none, none, (log_p * mask[..., None]).reshape(n, -1), bias=True)
        precision = np.full(sum(design.sizes), 1 / config.C)
        precision[-c:] = 1e-6  # the intercept is free, but for the direction that a softmax does not see
        target, mean = np.eye(c, dtype=log_p.dtype)[predictions.labels], np.zeros(len(precision))
        warm = None if start is None else np.concatenate([start.parameters[x].ravel() for x in ("matrix", "bias")])
        _, _, matrix, bias = design.split(maximum_a_posteriori(design, target, mean, precision, warm))
        return {"matrix": matrix, "bias": bias}

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        n, m, c = inputs.shape
        return unimodal(inputs, present).reshape(n, m * c) @ self.tensor("matrix", inputs) + self.tensor("bias", inputs)

    def explain(self) -> str:
        return f"Logistic regression on {self.parameters['matrix'].shape[0]} log-probabilities."
