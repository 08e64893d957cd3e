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
import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.decision.base import Rule
from mmbal.decision.fused import Takes
from mmbal.decision.rules.temperature import inverse_temperature, inverse_temperatures, temperature
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
        logits = torch.from_numpy(np.stack([predictions.logits[m] for m in predictions.modalities], axis=1))
        present = torch.from_numpy(predictions.present_mask().astype(np.float64))
        root = config.scale == "root"
        x = measured(logits, present, torch.from_numpy(beta), root).numpy()
        n, m, c = x.shape
        y, seen = predictions.labels, present.numpy()[..., None]
        mean, without = class_means(x, seen, y)
        residual = ((x - without) * seen).reshape(n, m * c)
        size = np.repeat(np.sqrt(np.maximum(seen.sum(axis=0), 1)), c)
        scatter = residual.T @ residual / np.outer(size, size)
        variance = max(np.trace(scatter) / (m * c), FAINT)
        covariance = (1 - config.shrink) * scatter + config.shrink * variance * np.eye(m * c)
        prior = np.log((np.bincount(y, minlength=c) + 1) / (n + c))
        fitted = {"mean": mean, "covariance": covariance, "prior": prior}
        given = {name: torch.from_numpy(value) for name, value in fitted.items()}
        scores = gaussian_scores(torch.from_numpy(x), present, given, own=(y, torch.from_numpy(without))).numpy()
        scale = min(1.0, inverse_temperature(scores, y))
        return {"beta": beta, "root": np.array(root), **fitted, "scale": np.array(scale)}

    def combine(self, inputs: Tensor, present: Tensor) -> Tensor:
        x = measured(inputs, present, self.tensor("beta", inputs), bool(self.parameters["root"]))
        fitted = {name: self.tensor(name, inputs) for name in ("mean", "covariance", "prior")}
        return self.tensor("scale", inputs) * gaussian_scores(x, present, fitted)

    def explain(self) -> str:
        kind = "square roots of the probabilities" if self.parameters["root"] else "log-probabilities"
        return (
            f"Discriminant analysis of the calibrated {kind}; its scores at temperature "
            f"{temperature(float(self.parameters['scale']))}."
        )


def measured(logits: Tensor, present: Tensor, beta: Tensor, root: bool) -> Tensor:
    """The Gaussian inputs ``(N, M, C)``: roots of calibrated probabilities, or centred logs; 0 where missing."""
    v = torch.log_softmax(beta[:, None] * torch.log_softmax(logits, dim=-1), dim=-1)
    x = (v / 2).exp() if root else v - v.mean(dim=-1, keepdim=True)
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
    typical = centre + rise * (np.eye(c)[:, None] - 1 / c)
    total, count = np.zeros((c, m, c)), np.zeros((c, m, 1))
    np.add.at(total, y, x)
    np.add.at(count, y, seen)
    mean = (total + typical) / (count + 1)
    return mean, x - (x - mean[y]) * (1 + 1 / np.maximum(count[y], 1))


def gaussian_scores(
    x: Tensor, present: Tensor, fitted: Mapping[str, Tensor], own: tuple[np.ndarray, Tensor] | None = None
) -> Tensor:
    """Log joint density of class and row ``(N, C)``, up to a constant a row; missing modalities are left out.

    ``x (N, M, C)``; ``fitted``: "mean" ``(C, M, C)``, "covariance" ``(M C, M C)``, "prior" ``(C,)`` in nats. ``own``:
    labels ``(N,)`` and the mean ``(N, M, C)`` that a row's own class is to have for that row.
    """
    n, _, c = x.shape
    mean, covariance = fitted["mean"].flatten(1), fitted["covariance"]
    scores = fitted["prior"].expand(n, c)
    patterns, which = torch.unique(present > 0, dim=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        rows = (which == k).nonzero()[:, 0]
        kept = pattern.repeat_interleave(c)
        part, centres = x[rows].flatten(1)[:, kept], mean[:, kept]
        solved = torch.linalg.solve(covariance[kept][:, kept], centres.T)
        likelihood = part @ solved - (centres * solved.T).sum(dim=1) / 2
        if own is not None:
            labels, means = torch.from_numpy(own[0])[rows], own[1][rows].flatten(1)[:, kept]
            solved = torch.linalg.solve(covariance[kept][:, kept], means.T).T
            likelihood[torch.arange(len(rows)), labels] = ((part - means / 2) * solved).sum(dim=1)
        scores = scores.index_add(0, rows, likelihood)
    return scores
