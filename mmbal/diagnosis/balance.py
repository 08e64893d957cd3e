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

import numpy as np

from mmbal.diagnosis.coalitions import Decision, centred
from mmbal.diagnosis.weights import Layer, contributions_of
from mmbal.maths.bootstrap import MIN_SAMPLES, Bootstrap, ratio
from mmbal.maths.distributions import normal_cdf
from mmbal.maths.significance import holm
from mmbal.predictions.format import Array, Predictions


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
