"""The weights with which the contributions predict the labels best, and how they move when samples are drawn again.

The regression, its prior and its intervals are in :mod:`mmbal.diagnosis.balance`, whose weights these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.coalitions import Decision, centred
from mmbal.maths.arrays import log_softmax
from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.loglinear import Design, Posterior, mode_of
from mmbal.maths.newton import nearest_non_negative
from mmbal.predictions.format import Array, Predictions

MODALITY_SPREAD = 3.0  # prior standard deviation of u about 1, where 1 is the best common factor: hardly informative
BIAS_SPREAD = 1.0  # prior standard deviation of b, in nats
CLASS_SPREADS = (0.0, 0.1, 0.2, 0.4, 0.8)  # the candidates for tau
SMALLEST_UNIT = (
    0.1  # the common factor is not taken below this over the contributions' scale: a useless sum has factor 0
)


def contributions_of(decision: Decision, predictions: Predictions) -> Array:
    """The contributions ``(N, M, C)`` less their means; zero where the modality is missing."""
    mask = predictions.present_mask()[:, :, None]
    parts = np.stack([decision.contribution[m] for m in decision.modalities], axis=1) * mask
    mean = parts.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    value: Array = (parts - mean) * mask
    return value


@dataclass(frozen=True)
class Weights:
    """Weights of the contributions: the fit and its replicates ``(1 + B, M, C)``, under ``w >= 0`` and ``free`` of it.

    ``deviations (P, M, C)``: their squares and products, summed over P, are the free weights' posterior covariance.
    """

    replicates: Array
    free: Array
    deviations: Array


class Mode(NamedTuple):
    """A mode ``(P,)`` with what its replicates need: the ``error (N, C)`` of the probabilities, the prior's gradient
    ``(P,)``, and R ``(P, P)`` of which R'R is the posterior covariance.
    """

    at: Array
    error: Array
    prior: Array
    root: Array

    @classmethod
    def of(cls, posterior: Posterior, at: Array, factor: Array | None = None) -> Mode:
        """Of parameters ``at``; ``factor``: Cholesky's of the Hessian there, where it is known."""
        factor = _factor(posterior, at) if factor is None else factor
        error = posterior.evaluate(at)[1] - posterior.target
        return cls(at, error, posterior.pull(at - posterior.mean), np.linalg.inv(factor))

    def replicates(self, contributions: Array, unit: float, boot: Bootstrap) -> Array:
        """The mode and its replicates ``(1 + B, P)``: one Newton step of the re-weighted likelihood from the mode."""
        each = [boot.sums(self.error * contributions[:, k]) for k in range(contributions.shape[1])]
        by_class = unit * np.stack(each, axis=1)
        if len(self.at) < by_class[0].size + self.error.shape[1]:  # one weight per modality
            by_class = by_class.sum(axis=2)
        gradient = np.concatenate([by_class.reshape(len(by_class), -1), boot.sums(self.error)], axis=1) + self.prior
        moved = self.at - (gradient @ self.root.T) @ self.root
        moved[0] = self.at
        return moved


@dataclass(frozen=True)
class Layer:
    """The weights that predict the labels best, as they were fitted to ``contributions (N, M, C)`` times ``unit``.

    ``free`` is the mode without the bound, ``bounded`` that under ``w >= 0``; they are the same where no weight is negative.
    """

    contributions: Array
    labels: Array
    unit: float
    free: Mode
    bounded: Mode

    @classmethod
    def of(cls, contributions: Array, labels: Array) -> Layer:
        """Fit, with the class-wise spread chosen by the marginal likelihood."""
        c = contributions.shape[2]
        total = centred(contributions.sum(axis=1))
        unit = max(inverse_temperature(log_softmax(total), labels), SMALLEST_UNIT / max(float(total.std()), 1e-12))
        del total
        found = best_fit(unit * contributions, labels)
        free = bounded = Mode.of(found.posterior, found.mode, found.factor)
        size = len(found.mode) - c  # the weights come first, the bias last
        if (found.mode[:size] < 0).any():
            lower = np.repeat([0.0, -np.inf], [size, c])
            bounded = Mode.of(found.posterior, mode_of(found.posterior, found.mode, lower=lower))
        return cls(contributions, labels, unit, free, bounded)

    def free_weights(self, boot: Bootstrap) -> Array:
        """The weights without the bound and their replicates ``(1 + B, M, C)``."""
        return self._by_class(self.free.replicates(self.contributions, self.unit, boot))

    def weights(self, boot: Bootstrap) -> Array:
        """The weights under ``w >= 0`` and their replicates ``(1 + B, M, C)``."""
        found, size = self.bounded.replicates(self.contributions, self.unit, boot), len(self.bounded.at) - self.classes
        negative = 1 + np.flatnonzero((found[1:, :size] < 0).any(axis=1))
        if len(negative):
            covariance, active = self.bounded.root.T @ self.bounded.root, self.bounded.at[:size] <= 0
            for row in negative:
                found[row] = nearest_non_negative(found[row], covariance, size, active)
        return self._by_class(found)

    @property
    def classes(self) -> int:
        return int(self.contributions.shape[2])

    @cached_property
    def deviations(self) -> Array:
        """``(P, M, C)``: their squares and products, summed over P, are the free weights' posterior covariance."""
        return self._by_class(self.free.root)

    @cached_property
    def claims(self) -> Claims:
        """What the contributions claim, and how the evidence along them depends on the free weights."""
        return self._claims(self._by_class(self.free.at), along=None)

    def evidence(self) -> Claims:
        """What the contributions carry under the bounded weights, and how that depends on them.

        Where all weights of a modality are zero it is the slope of the contributions. Without any weight the evidence is
        exactly 0; the slope is right to first order.
        """
        weights = self._by_class(self.bounded.at)
        return self._claims(weights, along=weights)

    def _claims(self, weights: Array, along: Array | None) -> Claims:
        """Modality by modality, so that no more than one is copied."""
        n, m, c = self.contributions.shape
        sizes, linear, slopes = np.empty((n, m)), np.empty((n, m)), np.empty((c, m, c))
        rows = np.split(np.argsort(self.labels, kind="stable"), np.cumsum(np.bincount(self.labels, minlength=c))[:-1])
        for k in range(m):
            part = self.contributions[:, k]
            own = centred(part if along is None else part * along[k])
            sizes[:, k] = np.abs(own).mean(axis=1)
            if along is not None and not along[k].any():
                own = centred(part)
            slope = part * _directions(own)
            slope /= c
            linear[:, k] = slope @ weights[k]
            for row in range(c):
                slopes[row, k] = slope[rows[row]].sum(axis=0)
        return Claims(sizes, linear, slopes)

    def _by_class(self, theta: Array) -> Array:
        return self.unit * _by_class(theta, self.contributions.shape[1], self.classes)


class Claims(NamedTuple):
    """Of each sample and modality: mean absolute evidence ``sizes (N, M)``; what weights make along it, ``linear (N, M)``;
    and ``slopes (C, M, C)`` of its class sums in the weights: class, modality, weight.
    """

    sizes: Array
    linear: Array
    slopes: Array


def fit_weights(contributions: Array, labels: Array, boot: Bootstrap) -> Weights:
    """Weights of ``contributions (N, M, C)``, the class-wise spread chosen by the marginal likelihood."""
    layer = Layer.of(contributions, labels)
    return Weights(layer.weights(boot), layer.free_weights(boot), layer.deviations)


class Fit(NamedTuple):
    """The regression with one class-wise spread: its posterior, the mode ``(P,)``, and Laplace's log evidence (nats)."""

    posterior: Posterior
    mode: Array
    evidence: float
    factor: Array  # (P, P): Cholesky's of the Hessian


def best_fit(contributions: Array, labels: Array) -> Fit:
    """The fit with the class-wise spread of the greatest evidence; the search ends where the evidence falls."""
    _, m, c = contributions.shape
    best = fit(contributions, labels, CLASS_SPREADS[0], np.ones((m, c)), np.zeros(c))
    for spread in CLASS_SPREADS[1:]:
        found = fit(contributions, labels, spread, _by_class(best.mode, m, c), best.mode[-c:])
        if found.evidence <= best.evidence:
            break
        best = found
    return best


def fit(contributions: Array, labels: Array, spread: float, weights: Array, bias: Array) -> Fit:
    """The fit with a class-wise ``spread``; starts from ``weights (M, C)`` and ``bias (C,)``."""
    posterior = regression(contributions, labels, spread)
    start = weights if spread else weights.mean(axis=1)
    mode = mode_of(posterior, np.concatenate([start.ravel(), bias]))
    factor, prior = _factor(posterior, mode), np.linalg.cholesky(posterior.precision)
    volume = float(np.log(np.diag(prior)).sum() - np.log(np.diag(factor)).sum())
    return Fit(posterior, mode, volume - posterior.evaluate(mode)[0], factor)


def regression(contributions: Array, labels: Array, spread: float) -> Posterior:
    """The posterior of (w, b): without a spread one weight per modality, (M + C,); else one per class, (M C + C,).

    With u integrated out, the class-wise weights of a modality are N(1, MODALITY_SPREAD^2 + spread^2 I).
    """
    n, m, c = contributions.shape
    none = contributions[:, :0]
    design = Design(none if spread else contributions, contributions if spread else none, np.zeros((n, 0)), bias=True)
    each = c if spread else 1
    covariance = MODALITY_SPREAD**2 * np.ones((each, each)) + spread**2 * np.eye(each)
    precision = np.diag(np.full(m * each + c, BIAS_SPREAD**-2))
    precision[: m * each, : m * each] = np.kron(np.eye(m), np.linalg.inv(covariance))
    return Posterior(design, np.eye(c)[labels], np.repeat([1.0, 0.0], [m * each, c]), precision)


def _factor(posterior: Posterior, at: Array) -> Array:
    """Cholesky's factor ``(P, P)`` of the Hessian of the negative log-posterior."""
    return np.linalg.cholesky(posterior.design.hessian(posterior.evaluate(at)[1], posterior.mass) + posterior.precision)


def _by_class(theta: Array, modalities: int, classes: int) -> Array:
    """Weights ``(..., M, C)`` of parameters ``(..., P)``, whose last C are the bias."""
    each = theta[..., :-classes].reshape(*theta.shape[:-1], modalities, -1)
    return np.broadcast_to(each, (*each.shape[:-1], classes))


def layer_of(decision: Decision, predictions: Predictions) -> Layer:
    """The best weights of a decision whose additive parts are known."""
    return Layer.of(contributions_of(decision, predictions), predictions.labels)


def _directions(parts: Array) -> Array:
    """C times the slope of ``mean_k |v[k] - mean v|`` in v, of class-centred ``parts (..., C)``."""
    sign = np.sign(parts)
    value: Array = sign - sign.mean(axis=-1, keepdims=True)
    return value
