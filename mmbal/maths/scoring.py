"""How good probabilities are: accuracy, log score, calibration error, Brier score."""

from __future__ import annotations

import numpy as np


def scores(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, mean negative log-likelihood (nats), expected calibration error and Brier score.

    ``log_probabilities (N, C)``, ``labels (N,)``. The Brier score is ``mean_n sum_c (p_nc - [y_n = c])^2``, in [0, 2].
    """
    rows = np.arange(len(labels))
    p = np.exp(log_probabilities)
    error = p.copy()
    error[rows, labels] -= 1
    return {
        "accuracy": float(np.mean(log_probabilities.argmax(axis=1) == labels)),
        "nll": float(-log_probabilities[rows, labels].mean()),
        "ece": expected_calibration_error(p, labels),
        "brier": float((error**2).sum(axis=1).mean()),
    }


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over ``bins`` bins of equal mass, in [0, 1].

    Rows are sorted by the confidence of their decision and cut into bins of equal size (15 of them; fewer rows: one a
    row), so that no bin is nearly empty. Source: Nixon et al., "Measuring calibration in deep learning", 2019,
    arXiv 1904.01685 (adaptive bins); Guo et al., ICML 2017 (the error).
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - confidence
    order = np.argsort(confidence, kind="stable")
    return float(sum(abs(part.sum()) for part in np.array_split(gap[order], min(bins, len(gap)))) / len(gap))
