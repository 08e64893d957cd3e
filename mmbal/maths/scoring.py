"""Scores of probabilities: accuracy, log score, calibration error, Brier score."""

from __future__ import annotations

import numpy as np

from mmbal.maths.bootstrap import Bootstrap, ratio

DIGITS = 9  # of a confidence; more differ with the order of a sum
AT_ONCE = 2**18  # scores that are looked at together
TIE = 1e-6  # of the largest magnitude in the row; smaller differences are those of rounding to single precision


def correct(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far each decision is right ``(N,)``, for logits or probabilities ``(N, C)`` and labels ``(N,)``.

    1 where the true class has the highest score, 0 where another has, and 1/k where it shares the highest score with
    k - 1 others. So a tie counts as a random choice does on average. The accuracy does not depend on the order of the
    classes or on the last bit of a sum, and a row of equal scores is a guess, 1/C. Scores are equal where they differ by
    less than ``TIE`` of the row's largest magnitude. This is the one accuracy of mmbal.
    """
    share, rows = np.empty(len(labels)), max(1, AT_ONCE // max(scores.shape[1], 1))
    for start in range(0, len(labels), rows):
        part = labels[start : start + rows]
        share[start : start + rows] = decided_shares(scores[start : start + rows])[np.arange(len(part)), part]
    return share


def decided_shares(scores: np.ndarray) -> np.ndarray:
    """The decision of each row ``(N, C)``: 1 for the class with the highest score, 1/k for each of k that share it."""
    magnitude = np.abs(np.where(np.isfinite(scores), scores, 0.0)).max(axis=1, keepdims=True)
    highest = scores >= scores.max(axis=1, keepdims=True) - TIE * magnitude
    share: np.ndarray = highest / highest.sum(axis=1, keepdims=True)
    return share


def scores(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, mean negative log-likelihood (nats), expected calibration error and Brier score.

    ``log_probabilities (N, C)``, ``labels (N,)``. The Brier score is ``mean_n sum_c (p_nc - [y_n = c])^2``, in [0, 2].
    """
    rows = np.arange(len(labels))
    p = np.exp(log_probabilities)
    return {
        "accuracy": float(correct(log_probabilities, labels).mean()),
        "nll": float(-log_probabilities[rows, labels].mean()),
        "ece": expected_calibration_error(p, labels),
        "brier": float(brier_scores(p, labels).mean()),
    }


def brier_scores(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The Brier score of each row ``(N,)``, in [0, 2], of probabilities ``(N, C)`` and labels ``(N,)``."""
    own = probabilities[np.arange(len(labels)), labels]
    # (1 - p_y)^2 in place of p_y^2, so that no copy of the table is made
    score: np.ndarray = np.einsum("nc,nc->n", probabilities, probabilities) - own**2 + (1 - own) ** 2
    return score


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over ``bins`` bins of equal mass, in [0, 1].

    Rows are sorted by the confidence of their decision and cut into bins of equal size (15 of them; fewer rows: one a
    row), so that no bin is nearly empty. Source: Nixon et al., "Measuring calibration in deep learning", 2019,
    arXiv 1904.01685 (adaptive bins); Guo et al., ICML 2017 (the error).
    """
    order, gap, starts = _confidence_bins(probabilities, labels, bins)
    return float(np.abs(np.add.reduceat(gap[order], starts)).sum() / len(gap))


def calibration_errors(
    boot: Bootstrap, probabilities: np.ndarray, labels: np.ndarray, rows: np.ndarray | None = None, bins: int = 15
) -> np.ndarray:
    """Replicates ``(1 + B,)`` of :func:`expected_calibration_error`, the sample's own first, with the sample's bins.

    ``rows``: those of the table's samples that ``probabilities (N, C)`` and ``labels (N,)`` hold. Drawing rows again adds
    noise, which an absolute value turns into error. So the replicates are shifted to have the sample's own error as their
    mean (not below 0). The error itself is biased upwards where it is small or rows are few, which no shift shows: of
    samples whose true error is 0.06, intervals of 95 % cover it in 60 % (200 rows) and 92 % (1000 rows) of the cases,
    without the shift in 1 % and 77 %; of a true error of 0.22 in 96 % and 95 %.
    """
    order, gap, starts = _confidence_bins(probabilities, labels, bins)
    binned = np.zeros((len(gap), len(starts)))
    binned[order, np.repeat(np.arange(len(starts)), np.diff([*starts, len(gap)]))] = gap[order]
    found = ratio(np.abs(boot.sums(binned, rows)).sum(axis=1), boot.sums(np.ones(len(gap)), rows))
    found[1:] = np.maximum(found[1:] - np.nanmean(found[1:]) + found[0], 0.0)
    return found


def _confidence_bins(
    probabilities: np.ndarray, labels: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    confidence = probabilities.max(axis=1)
    gap = correct(probabilities, labels) - confidence
    parts = np.array_split(np.arange(len(gap)), min(bins, len(gap)))
    order = np.argsort(np.round(confidence, DIGITS), kind="stable")  # ties stay in the order of the rows
    return order, gap, np.array([part[0] for part in parts])
