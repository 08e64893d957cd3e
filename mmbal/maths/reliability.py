"""Reliability without bins: how often decisions are right at each confidence, and what recalibration would gain."""

from __future__ import annotations

import numpy as np

from mmbal.maths.arrays import sigmoid
from mmbal.maths.bootstrap import Array, Bootstrap, ratio
from mmbal.maths.newton import newton

POINTS = 25  # of a curve
FLOOR = 1e-12  # least distance of a confidence from 0 and 1
UNIFORM_SPREAD = 1 / np.sqrt(12)  # standard deviation of ranks in [0, 1]


def reliability_curve(
    boot: Bootstrap, confidence: Array, right: Array, rows: Array | None = None, points: int = POINTS
) -> tuple[Array, Array]:
    """Confidence ``(G,)`` at the curve's points, and replicates ``(1 + B, G)`` of the accuracy there.

    ``confidence (n,)`` and ``right (n,)`` are of ``rows`` of the table's samples. At a point the samples are weighted by
    a Gaussian kernel of their distance in rank, so the curve is as fine as the samples are dense. The width is Silverman's
    0.9 s n^(-1/5), with s the spread of ranks. Confidence and accuracy are means under the same weights, so a calibrated
    model lies on the diagonal up to noise. Source: Nadaraya 1964 and Watson 1964 (the estimator); Silverman 1986 (width).
    """
    n = len(confidence)
    _, where, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    rank = ((np.cumsum(counts) - counts / 2) / n)[where]  # equal confidences have equal ranks
    width = 0.9 * UNIFORM_SPREAD * n**-0.2
    at = np.linspace(0.0, 1.0, points)
    weight = np.exp(-0.5 * ((rank[:, None] - at) / width) ** 2)
    mean: Array = confidence @ weight / weight.sum(axis=0)
    gap = ratio(boot.sums((right - confidence)[:, None] * weight, rows), boot.sums(weight, rows))
    return mean, np.clip(mean + gap, 0.0, 1.0)


def recalibrated(confidence: Array, right: Array, fold: Array) -> Array:
    """Confidences ``(n,)`` after held-out recalibration: sigmoid(a + b logit(confidence)), fitted on the other folds.

    Two pseudo-samples of even odds bound a and b. Source: Platt 1999; Cox 1958.
    """
    clipped = np.clip(confidence, FLOOR, 1 - FLOOR)
    scores = np.log(clipped) - np.log1p(-clipped)
    found = np.empty(len(confidence))
    for k in np.unique(fold):
        inside = fold == k
        a, b = _platt(scores[~inside], right[~inside])
        found[inside] = sigmoid(a + b * scores[inside])
    return found


def _platt(scores: Array, right: Array) -> tuple[float, float]:
    """Intercept and slope; two pseudo-samples stand at the mean score, one right and one wrong, and shrink both to 0."""
    centre = float(scores.mean())
    unit = float(scores.std()) or 1.0
    design = np.stack([np.ones(len(scores)), (scores - centre) / unit], axis=1)
    prior = np.eye(2) / 2  # the curvature of two samples of even odds

    def objective(x: Array) -> tuple[float, Array, Array]:
        z = design @ x
        p = sigmoid(z)
        value = (np.logaddexp(0, z) - right * z).sum() + x @ prior @ x / 2
        return value, design.T @ (p - right) + prior @ x, (design.T * (p * (1 - p))) @ design + prior

    a, b = newton(objective, np.zeros(2))
    return float(a - b * centre / unit), float(b / unit)


def recalibration_gains(confidence: Array, right: Array, fold: Array) -> tuple[Array, Array]:
    """Nats ``(n,)`` that held-out recalibration gains where it lowers the confidence, and where it raises it.

    The first is the cost of over-confidence, the second that of under-confidence; a sample counts in one of them and is 0
    in the other. The loss is the log loss of "the decision is right". Held out, so of a calibrated model both are near 0 or
    below. Source: Berta, Holzmüller, Jordan and Bach 2025, arXiv 2501.19195 (calibration error as a gain of recalibration).
    """
    stated, found = (np.clip(p, FLOOR, 1 - FLOOR) for p in (confidence, recalibrated(confidence, right, fold)))
    gain = right * (np.log(found) - np.log(stated)) + (1 - right) * (np.log1p(-found) - np.log1p(-stated))
    lowered = found < stated
    return np.where(lowered, gain, 0.0), np.where(lowered, 0.0, gain)
