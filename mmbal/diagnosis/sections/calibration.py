"""How well logits are calibrated: log score, Brier score, calibration error, reliability curve, and what corrects them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.coalitions import log_likelihood
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.section import Section
from mmbal.maths.arrays import log_softmax
from mmbal.maths.bootstrap import MIN_SAMPLES, Bootstrap, Estimate, ratio
from mmbal.maths.folds import folds_of, groups_of
from mmbal.maths.reliability import recalibration_gains, reliability_curve
from mmbal.maths.scoring import brier_scores, calibration_errors, correct
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import ERROR, NATS, PLAIN, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Curve(Frozen):
    """Accuracy by confidence, without bins: one number a point of the curve in each list."""

    confidence: list[float]
    accuracy: list[float]
    low: list[float] = Field(description="lower edge of the band, point by point; empty where there is none")
    high: list[float] = Field(description="upper edge of the band")


class Calibration(Frozen):
    """How well the confidences are calibrated."""

    nll: Estimate = Field(description="negative log-likelihood, nats")
    brier: Estimate = Field(description="in [0, 2]")
    ece: Estimate = Field(description="expected calibration error, 15 bins of equal mass")
    temperature: Estimate | None = Field(
        description="that would calibrate it; above 1: over-confident; null: unbounded"
    )
    over_confidence: Estimate | None = Field(
        None, description="nats a sample that held-out recalibration gains by lowering confidences"
    )
    under_confidence: Estimate | None = Field(None, description="the same by raising confidences")
    curve: Curve | None = Field(None, description="reliability curve by a kernel over ranks of confidence")


def calibration_of(
    figures: Figures, path: str, logits: Array, rows: Array, group: Array | None = None
) -> Calibration | None:
    """Calibration of ``logits (N, C)`` over ``rows`` (mask); None where there are no rows.

    Recalibration is cross-fitted with whole groups ``(N,)`` in one fold.
    """
    rows = np.flatnonzero(rows)
    if not len(rows):
        return None
    logits, labels, boot = logits[rows], figures.labels[rows], figures.boot
    p = np.exp(log_softmax(logits, axis=-1))
    estimates = {
        "nll": figures.add(f"{path}.nll", boot.means(-log_likelihood(logits, labels), rows)),
        "brier": figures.add(f"{path}.brier", boot.means(brier_scores(p, labels), rows)),
        "ece": figures.add(f"{path}.ece", calibration_errors(boot, p, labels, rows)),
    }
    temperature = figures.add(f"{path}.temperature", _temperature(figures, logits, labels, rows))
    confidence, right = p.max(axis=1), correct(logits, labels)
    at, accuracy = reliability_curve(boot, confidence, right, rows)
    found = {**estimates, "temperature": temperature, "curve": _curve(boot, at, accuracy)}
    if len(rows) >= MIN_SAMPLES:
        fold = folds_of(labels, group=groups_of(None if group is None else group[rows]))
        names = ("over_confidence", "under_confidence")
        for name, gains in zip(names, recalibration_gains(confidence, right, fold), strict=True):
            found[name] = figures.add(f"{path}.{name}", boot.means(gains, rows))
    return Calibration.model_validate(found)


def _curve(boot: Bootstrap, at: Array, accuracy: Array) -> Curve:
    """The curve with its pointwise band, rounded to what a picture shows."""
    bands = [boot.estimate(replicates) for replicates in accuracy.T]
    ends = [(b.low, b.high) for b in bands if b is not None and b.low is not None and b.high is not None]
    whole = len(ends) == len(bands)
    return Curve(
        confidence=at.round(4).tolist(),
        accuracy=accuracy[0].round(4).tolist(),
        low=[round(low, 4) for low, _ in ends] if whole else [],
        high=[round(high, 4) for _, high in ends] if whole else [],
    )


def _temperature(figures: Figures, logits: Array, labels: Array, rows: Array) -> Array:
    """Replicates of 1 / beta, beta moved by one Newton step of each replicate's likelihood; NaN where beta is 0."""
    log_p = log_softmax(logits, axis=-1)
    beta = inverse_temperature(log_p, labels)
    p = np.exp(log_softmax(beta * log_p, axis=-1))
    mean = np.einsum("nc,nc->n", p, log_p)
    slope = log_p[np.arange(len(labels)), labels] - mean
    p *= log_p
    curvature = np.einsum("nc,nc->n", p, log_p) - mean**2
    boot = figures.boot
    moved = beta + ratio(boot.sums(slope - slope.mean(), rows), boot.sums(curvature, rows))
    moved[0] = beta
    return ratio(np.ones_like(moved), np.where(moved > 0, moved, 0.0))


@sections.register()
class CalibrationSection(Section):
    """Calibration of each modality's own decision and of the fused one."""

    order = 60
    title = "Calibration"
    full = True
    fields = {
        "calibration": (dict[str, Calibration], Field({}, description="of each modality, and of 'fused'")),
    }

    def measure(self, e: Examination) -> Mapping[str, Any]:
        everyone = np.ones(len(e.predictions), dtype=bool)
        logits = e.predictions.logits
        group = e.predictions.group
        found = {m: calibration_of(e.figures, f"calibration.{m}", logits[m], e.here(m), group) for m in e.names}
        found["fused"] = calibration_of(e.figures, "calibration.fused", e.decision.fused, everyone, group)
        for m, value in found.items():
            if value is None:
                e.lacks(f"calibration.{m}", "the modality is missing from every sample")
            elif value.temperature is None:
                e.lacks(f"calibration.{m}.temperature", "no finite temperature fits the samples")
        return {"calibration": {name: value for name, value in found.items() if value is not None}}

    def modality_columns(self, d: Diagnosis) -> list[Column]:
        found = [d.calibration.get(name) for name in (*d.data.modalities, "fused")]
        return [
            Column("temperature", [c and c.temperature for c in found], PLAIN, drop=8),
            Column("ECE", [c and c.ece for c in found], ERROR, drop=9),
        ]

    def tables(self, d: Diagnosis) -> list[Table]:
        found = d.calibration
        columns = [
            Column("decision", list(found)),
            Column("ECE", [c.ece for c in found.values()], ERROR),
            Column("over-confidence (nats)", [c.over_confidence for c in found.values()], NATS, drop=1),
            Column("under-confidence (nats)", [c.under_confidence for c in found.values()], NATS, drop=1),
            Column("temperature", [c.temperature for c in found.values()], PLAIN),
            Column("Brier", [c.brier for c in found.values()], NATS, drop=2),
            Column("NLL (nats)", [c.nll for c in found.values()], NATS, drop=3),
        ]
        caption = (
            "ECE: 15 bins of equal mass. Over- and under-confidence: what held-out recalibration gains by lowering and by "
            "raising confidences. Of a calibrated model both are 0."
        )
        return [Table.of(columns, caption=caption)] if found else []

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        return {"calibration.fused.nll": ("NLL", NATS)}
