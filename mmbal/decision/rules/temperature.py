"""Temperature scaling of every modality alone, then the sum.

    log p(c) = sum_m beta_m log p_m(c) + const,    beta_m = 1 / T_m = argmin NLL(softmax(beta log p_m)) + prior
    shared:    beta_m = beta = argmin NLL(softmax(beta sum_m log p_m)) + prior,    which changes no decision of the sum

Reference: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, arXiv 1706.04599.

Deviations: the paper fits T by plain maximum likelihood, which runs to infinity where a modality makes no mistake on a
small calibration split. Here the data are joined by one pseudo-row's worth of uniform labels, which is the conjugate
prior of the softmax; this bounds beta, keeps the problem convex and does not depend on the logits' scale. Fitted by
Newton's method in beta. Where the model's decision is not the sum of its parts, it alone gets a temperature.
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.base import Rule, unimodal
from mmbal.decision.fused import Takes
from mmbal.maths.arrays import AnyArray, log_softmax
from mmbal.maths.newton import newton
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


def inverse_temperature(log_p: np.ndarray, labels: np.ndarray) -> float:
    """The ``beta >= 0`` that calibrates log-probabilities ``(N, C)``; 0 where they do not help or mislead."""
    n = len(labels)
    if n == 0:
        return 1.0
    # the scores' unit is their own mean margin, so that tolerances and the start mean the same at any scale
    unit = float((log_p.max(axis=1) - log_p.mean(axis=1)).mean())
    if unit < 1e-12:
        return 1.0
    scores = log_p - log_p.max(axis=1, keepdims=True)
    scores /= unit
    target = float(scores[np.arange(n), labels].sum(dtype=np.float64) + scores.mean(dtype=np.float64)) / (n + 1)

    def objective(x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        p = float(x[0]) * scores  # a NumPy number would make single precision double
        np.exp(p, out=p)
        total = p.sum(axis=1)
        p *= scores
        first = p.sum(axis=1) / total
        second = np.einsum("nc,nc->n", p, scores) / total
        value = float(np.log(total).mean(dtype=np.float64)) - float(x[0]) * target
        slope, bend = first.mean(dtype=np.float64) - target, (second - first**2).mean(dtype=np.float64)
        return value, np.array([slope]), np.array([[bend]])

    tolerance = 1e-8 if scores.dtype == np.float64 else 1e-6
    return float(newton(objective, np.array([1.0]), lower=0.0, tolerance=tolerance)[0] / unit)


def inverse_temperatures(predictions: Predictions) -> np.ndarray:
    """The ``beta (M,)`` of every modality, from the rows that have it."""
    return np.array(
        [
            inverse_temperature(log_softmax(logits[rows], axis=-1), predictions.labels[rows])
            for (m, logits) in predictions.logits.items()
            for rows in [predictions.present.get(m, np.ones(len(predictions), dtype=bool))]
        ]
    )


def temperature(beta: float) -> str:
    """``1 / beta`` in words."""
    return f"{1 / beta:.3g}" if beta > 0 else "infinity"


@rules.register(family="scaling", year=2017, paper="1706.04599", fitted=True)
class Temperature(Rule):
    """Calibrates each modality alone, then sums."""

    takes: ClassVar[Takes] = "fused"

    class Config(Config):
        shared: bool = Field(False, description="one temperature, of the plain sum: its decisions, honest confidences")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        if not config.shared:
            return {"beta": inverse_temperatures(predictions)}
        present = predictions.present_mask()[..., None]
        log_p = np.stack([log_softmax(predictions.logits[m], axis=-1) for m in predictions.modalities], axis=1)
        beta = inverse_temperature((log_p * present).sum(axis=1), predictions.labels)
        return {"beta": np.full(len(predictions.modalities), beta)}

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        return (self.tensor("beta", inputs)[:, None] * unimodal(inputs, present)).sum(axis=1)

    def explain(self) -> str:
        given = dict(zip(self.modalities, self.parameters["beta"].tolist(), strict=True))
        each = ", ".join(f"{m} {temperature(b)}" for m, b in given.items())
        then = "; then the sum" if len(given) > 1 else ""
        text = f"Temperatures: {each} (above 1: it was over-confident){then}."
        for m in (m for m, b in given.items() if b == 0):
            text += (
                f" {m} counts for nothing: on these samples its log-probabilities are no better than chance, or worse."
            )
        return text
