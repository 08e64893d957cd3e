"""Logarithmic opinion pool: one weight per modality, fitted jointly.

    log p(c) = sum_m w_m beta_m log p_m(c) + const

``beta_m`` calibrates modality m alone, which makes the weights comparable: w_m = 1 is naive Bayes, w_m = 1 / M the
consensus of modalities that all carry the same information, w_m = 0 a modality that adds nothing to the others. The
weights are shrunk to that consensus; where the model's own decision is one of the inputs, to that alone.
References: Genest and Zidek, "Combining probability distributions", Statistical Science 1986; Hinton, "Products of
experts", ICANN 1999.
"""

from typing import ClassVar

import numpy as np

from mmbal.decision.base import Rule, centre_of_weights, unimodal
from mmbal.decision.fused import Takes
from mmbal.decision.rules.temperature import inverse_temperatures
from mmbal.maths.arrays import AnyArray, like, log_softmax
from mmbal.maths.loglinear import Design, Posterior, mode_of, soft_targets
from mmbal.predictions.format import Predictions
from mmbal.registry import rules
from mmbal.text import PLAIN

PRIOR_SCALE = 0.5  # standard deviation of a weight about its prior mean


def pool_weights(log_p: np.ndarray, labels: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """MAP weights ``(M,) >= 0``, shrunk to ``centre``, of calibrated log-probabilities ``(N, M, C)``.

    A convex problem. As for a temperature, one pseudo-row's worth of uniform labels joins the data.
    """
    n, m, c = log_p.shape
    design = Design(log_p, np.zeros((n, 0, c), log_p.dtype), np.zeros((n, 0), log_p.dtype), bias=False)
    posterior = Posterior(design, soft_targets(labels, log_p), centre, np.full(m, 1 / PRIOR_SCALE**2))
    return mode_of(posterior, lower=0.0)


@rules.register(family="linear", year=1986, paper="Genest and Zidek 1986", fitted=True)
class Pool(Rule):
    """Sums the log-probabilities with one weight per modality, which is not negative."""

    takes: ClassVar[Takes] = "parts and fused"

    @classmethod
    def estimate(
        cls, predictions: Predictions, config: object, beta: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        beta = inverse_temperatures(predictions) if beta is None else beta
        log_p = np.stack([log_softmax(predictions.logits[m], axis=-1) for m in predictions.modalities], axis=1)
        log_p *= like(beta[:, None], log_p) * predictions.present_mask()[..., None]
        weight = pool_weights(log_p, predictions.labels, centre_of_weights(predictions.modalities))
        return {"beta": beta, "weight": weight}

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        scale = self.tensor("beta", inputs) * self.tensor("weight", inputs)
        return (scale[:, None] * unimodal(inputs, present)).sum(axis=1)

    def explain(self) -> str:
        each = (f"{m} {PLAIN.number(w)}" for m, w in zip(self.modalities, self.parameters["weight"], strict=True))
        return f"Weights of the calibrated log-probabilities: {', '.join(each)}."
