"""Linear discriminant analysis of the unimodal log-probabilities: they are taken for a measurement of the class.

    o_c = scale (x S^-1 mu_c - mu_c S^-1 mu_c / 2 + log pi_c),    S = (1 - shrink) S_w + shrink tr(S_w) / D I

x joins the calibrated log-probabilities of all modalities, ``v_m = log softmax(beta_m log p_m)``: less their mean over
the classes (``scale: log``), or ``exp(v_m / 2)`` (``scale: root``; Euclidean distance is then Hellinger's, and a very
confident modality is no outlier). ``pi_c`` is the class's frequency with one pseudo-row a class. A row with a missing
modality is scored by the marginal of the others.

Few rows need four precautions. One pseudo-row draws a class's mean to that of an average class (its own log-probability
as far above the rest as it is for all classes), so a class without rows has a mean too. The within-class scatter S_w
takes each row about its class's mean without that row. ``scale`` is the inverse temperature, 1 at most, of scores in
which the row's own class has its mean without the row. Correlations between modalities that are seldom present in the
same rows are shrunk, the more the fewer these rows are.

The other rules model p(class | scores); this one models p(scores | class). Its errors fall on other samples, so an
average with it gains. References: Fisher, "The use of multiple measurements in taxonomic problems", 1936;
Friedman, "Regularized discriminant analysis", JASA 1989 (the shrinkage of S); Ng and Jordan, "On discriminative vs.
generative classifiers", NIPS 2001 (why it is good with few rows). Log-probabilities as its input: our instantiation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.base import Rule
from mmbal.decision.fused import Takes
from mmbal.decision.rules.temperature import inverse_temperature, inverse_temperatures, temperature
from mmbal.maths.arrays import AnyArray, exp, like, log_softmax, namespace, occurring, where
from mmbal.predictions.format import Predictions
from mmbal.registry import rules

FAINT = 1e-6  # least variance of an input


@rules.register(family="generative", year=1989, paper="Friedman 1989", fitted=True, status="our instantiation")
class Discriminant(Rule):
    """Gaussian log-probabilities of each class, with one covariance for all."""

    takes: ClassVar[Takes] = "parts and fused"

    class Config(Config):
        scale: Literal["log", "root"] = Field(
            "root", description="inputs: centred log-probabilities, or roots of probabilities"
        )
        shrink: float = Field(0.5, gt=0, le=1, description="share of the covariance that is a multiple of the identity")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any, beta: np.ndarray | None = None) -> dict[str, np.ndarray]:
        beta = inverse_temperatures(predictions) if beta is None else beta
        logits = np.stack([predictions.logits[m] for m in predictions.modalities], axis=1)
        present = predictions.present_mask().astype(logits.dtype)
        root = config.scale == "root"
        x = measured(logits, present, beta, root)
        n, m, c = x.shape
        y, seen = predictions.labels, present[..., None]
        mean, without = class_means(x, seen, y)
        residual = ((x - without) * seen).reshape(n, m * c)
        size = np.repeat(np.sqrt(np.maximum(seen.sum(axis=0), 1)), c).astype(x.dtype)
        scatter = residual.T @ residual / np.outer(size, size)
        variance = max(float(np.trace(scatter)) / (m * c), FAINT)
        covariance = (1 - config.shrink) * scatter + config.shrink * variance * np.eye(m * c, dtype=x.dtype)
        prior = like(np.log((np.bincount(y, minlength=c) + 1) / (n + c)), x)
        fitted = {"mean": mean, "covariance": covariance, "prior": prior}
        scale = min(1.0, inverse_temperature(held_out_scores(x, present, fitted, y, without), y))
        return {"beta": beta, "root": np.array(root), **fitted, "scale": np.array(scale)}

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        x = measured(inputs, present, self.tensor("beta", inputs), bool(self.parameters["root"]))
        return self.tensor("scale", inputs) * gaussian_scores(x, present, self.parameters)

    def explain(self) -> str:
        kind = "square roots of the probabilities" if self.parameters["root"] else "log-probabilities"
        return (
            f"Discriminant analysis of the calibrated {kind}; its scores at temperature "
            f"{temperature(float(self.parameters['scale']))}."
        )


def measured(logits: AnyArray, present: AnyArray, beta: AnyArray, root: bool) -> AnyArray:
    """The Gaussian inputs ``(N, M, C)``: roots of calibrated probabilities, or centred logs; 0 where missing."""
    v = log_softmax(like(beta, logits)[:, None] * logits)
    x = exp(v / 2) if root else v - v.mean(axis=-1, keepdims=True)
    return x * present[..., None]


def class_means(x: np.ndarray, seen: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each class ``(C, M, C)``, and of each row's class without the row ``(N, M, C)``.

    ``x (N, M, C)``, 0 where ``seen (N, M, 1)`` is; ``y (N,)``. One pseudo-row of the typical class joins each class.
    """
    n, m, c = x.shape
    held = np.maximum(seen.sum(axis=0), 1)
    centre = x.sum(axis=0) / held
    own = (x[np.arange(n), :, y] - centre[:, y].T) * seen[..., 0]
    rise = own.sum(axis=0)[:, None] / held * c / max(c - 1, 1)
    typical = centre + rise * (np.eye(c, dtype=x.dtype)[:, None] - 1 / c)
    member = np.eye(c, dtype=x.dtype)[y].T
    total = (member @ x.reshape(n, m * c)).reshape(c, m, c)
    count = (member @ seen[..., 0])[..., None]
    mean = (total + typical) / (count + 1)
    without = mean[y]
    np.subtract(x, without, out=without)  # in place, since these are as large as the data
    without *= 1 + 1 / np.maximum(count[y], 1)
    np.subtract(x, without, out=without)
    return mean, without


def gaussian_scores(x: AnyArray, present: AnyArray, fitted: Mapping[str, np.ndarray]) -> AnyArray:
    """Log joint density of class and row ``(N, C)``, up to a constant a row; missing modalities are left out.

    ``x (N, M, C)``, 0 where missing; ``fitted``: "mean" ``(C, M, C)``, "covariance" ``(M C, M C)``, "prior" ``(C,)`` in
    nats.
    """
    n, (c, m, _) = x.shape[0], fitted["mean"].shape
    flat, pattern = x.reshape(n, m * c), patterns(present)
    scores = namespace(x).broadcast_to(like(fitted["prior"], x), (n, c))
    for code in occurring(pattern, range(1, 2**m)):
        kept = inputs_with(code, m, c)
        centres = fitted["mean"].reshape(c, m * c)[:, kept]
        solved = np.linalg.solve(fitted["covariance"][np.ix_(kept, kept)], centres.T)
        likelihood = flat[:, kept] @ like(solved, x) - like((centres * solved.T).sum(axis=1) / 2, x)
        scores = scores + where((pattern == code)[:, None], likelihood, 0.0)
    return scores


def held_out_scores(
    x: np.ndarray, present: np.ndarray, fitted: Mapping[str, np.ndarray], y: np.ndarray, without: np.ndarray
) -> np.ndarray:
    """:func:`gaussian_scores`, where the own class ``y (N,)`` of each row has the mean ``without (N, M, C)``."""
    _, m, c = x.shape
    scores, pattern = gaussian_scores(x, present, fitted), patterns(present)
    for code in occurring(pattern, range(1, 2**m)):
        rows, kept = np.flatnonzero(pattern == code), inputs_with(code, m, c)
        part, means = (array.reshape(len(array), m * c) for array in (x, without))
        if len(rows) * len(kept) < x.size:
            part, means = part[np.ix_(rows, kept)], means[np.ix_(rows, kept)]
        solved = means @ np.linalg.inv(fitted["covariance"][np.ix_(kept, kept)])
        likelihood = np.einsum("nd,nd->n", part, solved) - np.einsum("nd,nd->n", means, solved) / 2
        scores[rows, y[rows]] = fitted["prior"][y[rows]] + likelihood
    return scores


def patterns(present: AnyArray) -> AnyArray:
    """The modalities ``(N,)`` that each row has, as bits of a number."""
    return ((present > 0) * like(2.0 ** np.arange(present.shape[1]), present)).sum(axis=1)


def inputs_with(code: int, m: int, c: int) -> np.ndarray:
    """The inputs, of M x C, that belong to the modalities of a pattern."""
    return np.flatnonzero(np.repeat(code >> np.arange(m) & 1, c))
