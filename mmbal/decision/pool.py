"""Logarithmic opinion pool: one weight per modality, fitted jointly.

    log p(c) = sum_m w_m log p_m(c) + const,    w = argmin NLL + |w / beta - 1 / M|^2 / 2,    w >= 0

Reference: Genest and Zidek, "Combining probability distributions", Statistical Science 1986; Hinton, "Products of
experts", ICANN 1999. ``beta_m`` is the inverse temperature of modality m alone, the unit in which weights of
different modalities can be compared: w_m = beta_m is naive Bayes, w_m = beta_m / M the consensus of modalities that
all say the same thing. A convex problem in M variables, solved by projected Newton.
"""

import numpy as np
from torch import Tensor

from mmbal.data.predictions import Predictions, log_softmax
from mmbal.decision.base import Rule, votes
from mmbal.decision.temperature import inverse_temperature
from mmbal.maths.newton import newton
from mmbal.registry import rules


def pool_weights(votes: np.ndarray, labels: np.ndarray, mean: float, precision: float = 1.0) -> np.ndarray:
    """MAP weights ``(M,) >= 0`` of log-probabilities ``(N, M, C)`` under the Gaussian prior ``N(mean, 1 / precision)``.

    As for a temperature, one pseudo-row of uniform labels joins the data.
    """
    n, m, _ = votes.shape
    own = votes[np.arange(n), :, labels].sum(axis=0) + votes.mean(axis=(0, 2))

    def objective(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        scores = np.einsum("m,nmc->nc", w, votes)
        top = scores.max(axis=1, keepdims=True)
        p = np.exp(scores - top)
        total = p.sum(axis=1, keepdims=True)
        p /= total
        expected = np.einsum("nc,nmc->nm", p, votes)
        weight = (n + 1) / n
        value = weight * (np.log(total) + top).sum() - w @ own + 0.5 * precision * ((w - mean) ** 2).sum()
        gradient = weight * expected.sum(axis=0) - own + precision * (w - mean)
        second = np.einsum("nmc,nkc->mk", p[:, None] * votes, votes) - expected.T @ expected
        return value, gradient, weight * second + precision * np.eye(m)

    return newton(objective, np.full(m, mean), lower=0.0)


@rules.register(family="scaling", year=1986, paper="Genest and Zidek 1986", fitted=True)
class Pool(Rule):
    """One weight per modality."""

    @classmethod
    def estimate(cls, predictions: Predictions, config: object) -> dict[str, np.ndarray]:
        mask = predictions.present_mask()
        log_p = np.stack([log_softmax(predictions.logits[m]) for m in predictions.modalities], axis=1)
        log_p *= mask[..., None]
        labels = predictions.labels
        beta = np.array([inverse_temperature(log_p[mask[:, k], k], labels[mask[:, k]]) for k in range(mask.shape[1])])
        return {"weight": beta * pool_weights(beta[:, None] * log_p, labels, mean=1 / len(beta))}

    def combine(self, inputs: Tensor, present: Tensor) -> Tensor:
        return (self.tensor("weight", inputs)[:, None] * votes(inputs, present)).sum(dim=1)

    def explain(self) -> str:
        each = (f"{m} {w:.3g}" for m, w in zip(self.modalities, self.parameters["weight"], strict=True))
        return f"Weights of the log-probabilities: {', '.join(each)}."
