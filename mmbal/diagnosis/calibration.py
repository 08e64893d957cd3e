"""How honest a set of logits is: log score, Brier score, calibration error and the temperature that would mend it."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.coalitions import log_likelihood
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.schema import Calibration
from mmbal.maths.bootstrap import ratio
from mmbal.maths.scoring import calibration_errors
from mmbal.predictions.format import Array


def calibration_of(figures: Figures, path: str, logits: Array, rows: Array) -> Calibration | None:
    """Calibration of ``logits (N, C)`` over ``rows`` (mask); None where there are no rows."""
    rows = np.flatnonzero(rows)
    if not len(rows):
        return None
    logits, labels, boot = logits[rows], figures.labels[rows], figures.boot
    p = np.exp(log_softmax(logits, axis=-1))
    brier = ((p - np.eye(p.shape[1])[labels]) ** 2).sum(axis=1)
    estimates = {
        "nll": figures.add(f"{path}.nll", boot.means(-log_likelihood(logits, labels), rows)),
        "brier": figures.add(f"{path}.brier", boot.means(brier, rows)),
        "ece": figures.add(f"{path}.ece", calibration_errors(boot, p, labels, rows)),
    }
    temperature = figures.add(f"{path}.temperature", _temperature(figures, logits, labels, rows))
    return Calibration.model_validate({**estimates, "temperature": temperature})


def _temperature(figures: Figures, logits: Array, labels: Array, rows: Array) -> Array:
    """Replicates of 1 / beta, beta moved by one Newton step of each replicate's likelihood; NaN where beta is 0."""
    log_p = log_softmax(logits, axis=-1)
    beta = inverse_temperature(log_p, labels)
    p = np.exp(log_softmax(beta * log_p, axis=-1))
    mean = (p * log_p).sum(axis=1)
    slope = log_p[np.arange(len(labels)), labels] - mean
    curvature = (p * log_p**2).sum(axis=1) - mean**2
    boot = figures.boot
    moved = beta + ratio(boot.sums(slope - slope.mean(), rows), boot.sums(curvature, rows))
    moved[0] = beta
    return ratio(np.ones_like(moved), np.where(moved > 0, moved, 0.0))
