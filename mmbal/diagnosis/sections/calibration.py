"""How well logits are calibrated: log score, Brier score, calibration error and the temperature that corrects them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from scipy.special import log_softmax

from mmbal.config import Frozen
from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.coalitions import log_likelihood
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import Estimate, ratio
from mmbal.maths.scoring import calibration_errors
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column
from mmbal.text import NATS, PLAIN, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Calibration(Frozen):
    """How well the confidences are calibrated."""

    nll: Estimate = Field(description="negative log-likelihood, nats")
    brier: Estimate = Field(description="in [0, 2]")
    ece: Estimate = Field(description="expected calibration error, 15 bins of equal mass")
    temperature: Estimate | None = Field(
        description="that would calibrate it; above 1: over-confident; null: unbounded"
    )


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


@sections.register()
class CalibrationSection(Section):
    """Calibration of each modality's own decision and of the fused one."""

    order = 60
    fields = {
        "calibration": (dict[str, Calibration], Field({}, description="of each modality, and of 'fused'")),
    }

    def measure(self, e: Examination) -> Mapping[str, Any]:
        everyone = np.ones(len(e.predictions), dtype=bool)
        logits = e.predictions.logits
        found = {m: calibration_of(e.figures, f"calibration.{m}", logits[m], e.here(m)) for m in e.names}
        found["fused"] = calibration_of(e.figures, "calibration.fused", e.decision.fused, everyone)
        for m, value in found.items():
            if value is None:
                e.lacks(f"calibration.{m}", "the modality is missing from every sample")
        return {"calibration": {name: value for name, value in found.items() if value is not None}}

    def modality_columns(self, d: Diagnosis) -> list[Column]:
        found = [d.calibration.get(name) for name in (*d.data.modalities, "fused")]
        return [
            Column("temperature", [c and c.temperature for c in found], PLAIN, drop=8),
            Column("ECE", [c and c.ece for c in found], PLAIN, drop=9),
        ]

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        return {"calibration.fused.nll": ("NLL", NATS)}
