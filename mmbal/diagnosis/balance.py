"""Relative balance: a modality's share of the decision, against its share of the evidence.

The contributions ``x_m`` of modality m are its part of the fused logits less their mean over the samples (a constant
offset is the head's bias, and carries no information about a sample). A softmax does not see a constant over the
classes, so their class-centred part counts:

    S[c, m] = sum over samples of class c of  mean_k |x_m[k] - mean_j x_m[j]|             contribution: share over m
    E[c, m] = the same of  w[m, k] x_m[k]                                                  capability: share over m
    index   = sum_c pi_c  1/2 sum_m |contribution[c, m] - capability[c, m]|                in [0, 1]

where ``w >= 0`` are the weights with which the contributions predict the labels best. They are the most probable ones,
under this bound, of the multinomial regression

    log p(k) = sum_m w[m, k] x_m[k] + b_k + const,       w[m, k] = u_m + d[m, k]

with a wide Gaussian prior on u, the prior ``d ~ N(0, tau^2)`` that shrinks class-wise weights to one weight per
modality, and an own bias per class. tau maximises the marginal likelihood (Laplace's approximation) of the regression
without the bound. A contribution times its weight is the evidence, in nats, that it really carries. So the index compares
the evidence that a contribution claims with the evidence that it carries. It is 0 exactly where no re-weighting by
modality and class beats a common factor: a Bayes-optimal decision layer has w = 1 throughout. It does not ask for
equality (a useless modality should contribute nothing), and a common temperature does not change it. A modality that
misleads, whose best weight would be negative, has capability 0.

Tests: shares of weights that are bounded at zero do not show how well the weights are known. So "contribution equals
capability" is tested on the contrast  L[c, m] sum_k S[c, k] - S[c, m] sum_k L[c, k]  of the weights without the bound; L is
the evidence along S, which is linear in the weights. The contrast is zero where the shares are equal. Its standard error
is the bootstrap's or that of the weights' posterior, whichever is larger: where the data leave the weights open (few
samples, or no errors to learn from) the posterior is wide, and nothing is claimed.

Intervals: samples are drawn again, and in each replicate the weights move by one Newton step of the re-weighted
likelihood from the fit (the infinitesimal form of fitting again), under the same bound. So the uncertainty of the fit is
part of the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.coalitions import Decision, centred
from mmbal.maths.arrays import log_softmax
from mmbal.maths.bootstrap import MIN_SAMPLES, Bootstrap, ratio
from mmbal.maths.distributions import normal_cdf
from mmbal.maths.loglinear import Design, Posterior, mode_of
from mmbal.maths.newton import nearest_non_negative
from mmbal.maths.significance import holm
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


@dataclass(frozen=True)
class Contrast:
    """What is tested, overall (row 0) and by class: ``(1 + C, M)`` its value and its standard error.

    ``class_samples (1 + B, C)``: how many samples each class has.
    """

    contrast: Array
    contrast_error: Array
    class_samples: Array


@dataclass(frozen=True)
class Shares(Contrast):
    """Replicates (first: the sample's own) of the shares overall ``(1 + B, M)`` and by class ``(1 + B, C, M)``."""

    contribution: Array
    capability: Array
    class_contribution: Array
    class_capability: Array
    relative_weight: Array

    @property
    def index(self) -> Array:
        """Replicates ``(1 + B,)`` of the imbalance index."""
        distance = np.abs(self.class_contribution - self.class_capability).sum(axis=2) / 2
        known = ~np.isnan(distance)
        return ratio(
            (np.where(known, distance, 0) * self.class_samples).sum(axis=1), (known * self.class_samples).sum(axis=1)
        )


def layer_of(decision: Decision, predictions: Predictions) -> Layer:
    """The best weights of a decision whose additive parts are known."""
    return Layer.of(contributions_of(decision, predictions), predictions.labels)


def contrast_of(layer: Layer, boot: Bootstrap) -> Contrast:
    """The tests' contrast of contribution and capability."""
    claims, labels, c = layer.claims, layer.labels, layer.classes
    claimed = boot.class_sums(claims.sizes, labels, c)
    free = layer.free_weights(boot)
    redrawn = boot.class_sums(claims.linear, labels, c) + _moved(free - free[0], claims.slopes)
    contrast = _contrast(claimed, redrawn)
    posterior = _contrast(claimed[:1], _moved(layer.deviations, claims.slopes))
    return Contrast(
        contrast=contrast[0],
        contrast_error=np.maximum(boot.error(contrast), np.sqrt((posterior**2).sum(axis=0))),
        class_samples=boot.class_sums(np.ones(len(labels)), labels, c),
    )


def shares_of(layer: Layer, boot: Bootstrap) -> Shares:
    """Contribution and capability shares."""
    labels, c, weights, evidence = layer.labels, layer.classes, layer.weights(boot), layer.evidence()
    claimed = boot.class_sums(layer.claims.sizes, labels, c)
    # the slope of the evidence in the weights carries the replicates of the weights over to it
    carried = boot.class_sums(evidence.sizes, labels, c) + _moved(weights - weights[0], evidence.slopes)
    carried = np.maximum(carried, 0) * np.expand_dims(np.any(weights, axis=2), axis=1)
    mean = weights.mean(axis=2)
    return Shares(
        **vars(contrast_of(layer, boot)),
        contribution=_share(claimed.sum(axis=1)),
        capability=_share(carried.sum(axis=1)),
        class_contribution=_share(claimed),
        class_capability=_share(carried),
        relative_weight=ratio(mean * mean.shape[1], mean.sum(axis=1)),
    )


def claims_of(decision: Decision, predictions: Predictions, boot: Bootstrap) -> tuple[Array, Array]:
    """Replicates ``(1 + B, M)`` of the contribution shares, and values ``(N, M)`` whose means are the shares.

    These need no labels. The spread of the values is that of the ratio to first order (delta method).
    """
    sizes = np.abs(centred(contributions_of(decision, predictions))).mean(axis=2)
    shares, total = _share(boot.sums(sizes)), sizes.sum(axis=1, keepdims=True)
    return shares, shares[0] + ratio(sizes - shares[0] * total, np.full(sizes.shape[:1], total.mean()))


def _directions(parts: Array) -> Array:
    """C times the slope of ``mean_k |v[k] - mean v|`` in v, of class-centred ``parts (..., C)``."""
    sign = np.sign(parts)
    value: Array = sign - sign.mean(axis=-1, keepdims=True)
    return value


def _moved(weights: Array, slopes: Array) -> Array:
    """The class sums ``(R, C, M)`` that weights ``(R, M, C)`` make along ``slopes (C, M, C)``."""
    value: Array = np.einsum("rmk,cmk->rcm", weights, slopes, optimize=True)
    return value


def _contrast(claimed: Array, evidence: Array) -> Array:
    """``L sum S - S sum L`` overall and by class ``(R, 1 + C, M)``, each over its scale ``(sum S)^2``."""
    both = [np.concatenate([x.sum(axis=1, keepdims=True), x], axis=1) for x in (claimed, evidence)]
    total = both[0].sum(axis=2, keepdims=True)
    value: Array = both[1] * total - both[0] * both[1].sum(axis=2, keepdims=True)
    return np.divide(value, total**2, out=np.zeros(np.broadcast_shapes(value.shape, total.shape)), where=total > 0)


def _share(sums: Array) -> Array:
    return ratio(sums, sums.sum(axis=-1))


def adjusted_p_values(shares: Contrast) -> tuple[list[float | None], list[list[float | None]]]:
    """Holm-adjusted p of "contribution equals capability": per modality ``M``, and per class and modality ``C x M``.

    All of them are one family; classes of fewer than ``MIN_SAMPLES`` samples are not tested (None). The contrasts of
    two modalities are each other's negative, so only one is tested.
    """
    m = shares.contrast.shape[1]
    tested = slice(1) if m == 2 else slice(m)
    error = shares.contrast_error[:, tested]
    z = np.divide(np.abs(shares.contrast[:, tested]), error, out=np.zeros_like(error), where=error > 0)
    enough = np.concatenate([[shares.class_samples[0].sum()], shares.class_samples[0]]) >= MIN_SAMPLES
    p = np.full(z.shape, np.nan)
    p[enough] = holm(2 * normal_cdf(-z[enough]).ravel()).reshape(-1, z.shape[1])
    rows = [[None if np.isnan(v) else float(v) for v in row] * (2 if m == 2 else 1) for row in p]
    return rows[0], rows[1:]
