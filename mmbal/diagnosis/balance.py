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
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag, solve_triangular
from scipy.special import log_softmax, ndtr

from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.coalitions import Decision, centred
from mmbal.maths.bootstrap import MIN_SAMPLES, Bootstrap, ratio
from mmbal.maths.loglinear import Design, Posterior
from mmbal.maths.newton import nearest_non_negative, newton
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


def fit_weights(contributions: Array, labels: Array, boot: Bootstrap) -> Weights:
    """Weights of ``contributions (N, M, C)``, the class-wise spread chosen by the marginal likelihood."""
    _, m, c = contributions.shape
    total = centred(contributions.sum(axis=1))
    unit = max(inverse_temperature(log_softmax(total, axis=-1), labels), SMALLEST_UNIT / max(float(total.std()), 1e-12))
    posterior, mode, _ = best_fit(unit * contributions, labels)
    free, root = _replicates(posterior, mode, boot)
    size = len(mode) - c  # the weights come first, the bias last
    bounded, metric = free, root
    if (mode[:size] < 0).any():
        lower = np.repeat([0.0, -np.inf], [size, c])
        mode = newton(posterior.objective, np.maximum(mode, lower), lower)
        bounded, metric = _replicates(posterior, mode, boot)
    bounded = bounded.copy()
    for row in 1 + np.flatnonzero((bounded[1:, :size] < 0).any(axis=1)):
        bounded[row] = nearest_non_negative(bounded[row], metric.T @ metric, size)
    return Weights(*(unit * _by_class(theta, m, c) for theta in (bounded, free, root)))


class Fit(NamedTuple):
    """The regression with one class-wise spread: its posterior, the mode ``(P,)``, and Laplace's log evidence (nats)."""

    posterior: Posterior
    mode: Array
    evidence: float


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
    mode = newton(posterior.objective, np.concatenate([start.ravel(), bias]))
    value, _, hessian = posterior.objective(mode)
    return Fit(posterior, mode, 0.5 * (_log_volume(posterior.precision) - _log_volume(hessian)) - value)


def regression(contributions: Array, labels: Array, spread: float) -> Posterior:
    """The posterior of (w, b): without a spread one weight per modality, (M + C,); else one per class, (M C + C,).

    With u integrated out, the class-wise weights of a modality are N(1, MODALITY_SPREAD^2 + spread^2 I).
    """
    n, m, c = contributions.shape
    none = contributions[:, :0]
    design = Design(none if spread else contributions, contributions if spread else none, np.zeros((n, 0)), bias=True)
    each = c if spread else 1
    covariance = MODALITY_SPREAD**2 * np.ones((each, each)) + spread**2 * np.eye(each)
    precision = block_diag(np.kron(np.eye(m), np.linalg.inv(covariance)), BIAS_SPREAD**-2 * np.eye(c))
    return Posterior(design, np.eye(c)[labels], np.repeat([1.0, 0.0], [m * each, c]), precision)


def _replicates(posterior: Posterior, mode: Array, boot: Bootstrap) -> tuple[Array, Array]:
    """The mode and its replicates ``(1 + B, P)``, and R ``(P, P)`` of which R'R is the posterior covariance."""
    p = posterior.evaluate(mode)[1]
    error, design = p - posterior.target, posterior.design
    parts = design.columns if design.columns.shape[1] else design.experts
    by_class = boot.sums(error[:, None, :] * parts)
    if parts is design.experts:
        by_class = by_class.sum(axis=2)
    prior = posterior.pull(mode - posterior.mean)
    gradient = np.concatenate([by_class.reshape(len(by_class), -1), boot.sums(error)], axis=1) + prior
    hessian = posterior.objective(mode)[2]
    moved = mode - np.linalg.solve(hessian, gradient.T).T
    moved[0] = mode
    root = solve_triangular(np.linalg.cholesky(hessian), np.eye(len(mode)), lower=True)
    return moved, root


def _log_volume(matrix: Array) -> float:
    return float(np.linalg.slogdet(matrix)[1])


def _by_class(theta: Array, modalities: int, classes: int) -> Array:
    """Weights ``(..., M, C)`` of parameters ``(..., P)``, whose last C are the bias."""
    each = theta[..., :-classes].reshape(*theta.shape[:-1], modalities, -1)
    return np.broadcast_to(each, (*each.shape[:-1], classes))


@dataclass(frozen=True)
class Shares:
    """Replicates (first: the sample's own) of the shares overall ``(1 + B, M)`` and by class ``(1 + B, C, M)``.

    ``contrast`` is what is tested, overall (row 0) and by class: ``(1 + C, M)`` its value and its standard error.
    """

    contribution: Array
    capability: Array
    class_contribution: Array
    class_capability: Array
    class_samples: Array
    relative_weight: Array
    contrast: Array
    contrast_error: Array

    @property
    def index(self) -> Array:
        """Replicates ``(1 + B,)`` of the imbalance index."""
        distance = np.abs(self.class_contribution - self.class_capability).sum(axis=2) / 2
        known = ~np.isnan(distance)
        return ratio(
            (np.where(known, distance, 0) * self.class_samples).sum(axis=1), (known * self.class_samples).sum(axis=1)
        )


def shares_of(decision: Decision, predictions: Predictions, boot: Bootstrap) -> Shares:
    """Contribution and capability shares of a decision whose additive parts are known."""
    parts, labels, c = contributions_of(decision, predictions), predictions.labels, len(predictions.classes)
    fitted = fit_weights(parts, labels, boot)
    weights, plain = fitted.replicates, centred(parts)
    claimed = boot.class_sums(np.abs(plain).mean(axis=2), labels, c)
    evidence = centred(parts * weights[0])
    carried = boot.class_sums(np.abs(evidence).mean(axis=2), labels, c)
    # The slope of the evidence in the weights carries the replicates of the weights over to it. Where all weights are
    # zero it is that of the contributions. Without any weight the evidence is exactly 0; the slope is right to first order.
    evidence = np.where(weights[0].any(axis=1)[:, None], evidence, plain)
    carried = np.maximum(carried + _moved(weights - weights[0], _slopes(parts, evidence, labels, c)), 0)
    carried *= np.expand_dims(np.any(weights, axis=2), axis=1)
    along = _slopes(parts, plain, labels, c)
    redrawn = boot.class_sums((parts * _directions(plain) * fitted.free[0]).sum(axis=2) / c, labels, c)
    redrawn += _moved(fitted.free - fitted.free[0], along)
    contrast = _contrast(claimed, redrawn)
    posterior = _contrast(claimed[:1], _moved(fitted.deviations, along))
    mean = weights.mean(axis=2)
    return Shares(
        contribution=_share(claimed.sum(axis=1)),
        capability=_share(carried.sum(axis=1)),
        class_contribution=_share(claimed),
        class_capability=_share(carried),
        class_samples=boot.class_sums(np.ones(len(labels)), labels, c),
        relative_weight=ratio(mean * mean.shape[1], mean.sum(axis=1)),
        contrast=contrast[0],
        contrast_error=np.maximum(boot.error(contrast), np.sqrt((posterior**2).sum(axis=0))),
    )


def claims_of(decision: Decision, predictions: Predictions, boot: Bootstrap) -> tuple[Array, Array]:
    """Replicates ``(1 + B, M)`` of the contribution shares, and values ``(N, M)`` whose means are the shares.

    These need no labels. The spread of the values is that of the ratio to first order (delta method).
    """
    sizes = np.abs(centred(contributions_of(decision, predictions))).mean(axis=2)
    shares, total = _share(boot.sums(sizes)), sizes.sum(axis=1, keepdims=True)
    return shares, shares[0] + ratio(sizes - shares[0] * total, np.full(sizes.shape[:1], total.mean()))


def _directions(parts: Array) -> Array:
    """C times the slope of ``mean_k |v[k] - mean v|`` in v, of class-centred ``parts (N, M, C)``."""
    sign = np.sign(parts)
    value: Array = sign - sign.mean(axis=2, keepdims=True)
    return value


def _slopes(parts: Array, evidence: Array, labels: Array, classes: int) -> Array:
    """Slope in the weights of the class sums of mean absolute evidence: ``(C, M, C)``, class, modality, weight."""
    slope = parts * _directions(evidence) / parts.shape[2]
    return np.stack([slope[labels == k].sum(axis=0) for k in range(classes)])


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


def adjusted_p_values(shares: Shares) -> tuple[list[float | None], list[list[float | None]]]:
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
    p[enough] = holm(2 * ndtr(-z[enough]).ravel()).reshape(-1, z.shape[1])
    rows = [[None if np.isnan(v) else float(v) for v in row] * (2 if m == 2 else 1) for row in p]
    return rows[0], rows[1:]
