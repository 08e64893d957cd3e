"""Accuracy by modality discrepancy: does the fused model beat a modality's own model where that modality is preferred?

Xia et al., 2023, arXiv 2302.10912: methods against imbalance beat the unimodal models overall, yet lose to the weak
modality's own model on the samples that it prefers. The decisions that ``alone`` scores also select the samples, which
raises ``alone``. So a negative gain is not a loss. Use the gains only to compare models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import Decision, correct, log_likelihood
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import GAIN, SHARE, Estimate
from mmbal.maths.discrepancy import discrepancy
from mmbal.predictions.format import Array, Predictions
from mmbal.predictions.pairing import shared_rows
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, Form
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

BINS = 4


class DiscrepancyBin(Frozen):
    """The samples that one modality prefers by a discrepancy in ``[low, high)``."""

    low: float
    high: float
    samples: int
    fused: Estimate = Field(description="accuracy of the model there")
    alone: Estimates = Field(description="accuracy of each unimodal model there")
    gain: Estimate = Field(description="fused less the unimodal model of the modality that is preferred")


class Discrepancy(Frozen):
    """Accuracy where one modality is more confident of the truth than the others are on average (2302.10912)."""

    by: str = Field(description="whose confidences: the separately trained models', or the modalities' own decisions'")
    preferred: dict[str, DiscrepancyBin] = Field(description="all samples that the modality prefers")
    bins: dict[str, dict[str, DiscrepancyBin]] = Field(
        description="modality -> number of the bin, from 1 -> its samples"
    )


def discrepancy_of(
    figures: Figures,
    predictions: Predictions,
    decision: Decision,
    unimodal: Predictions | None = None,
    bins: int = BINS,
) -> Discrepancy | None:
    """The fused accuracy and that of the unimodal models on the samples that each modality prefers, and by how much.

    ``unimodal`` are predictions of the separately trained models with the same ids (``mmbal pretrain``); without them,
    or where a modality is missing from them, the modalities' own decisions are used. None where no sample has two
    modalities. Raises DataError where no ids are shared.
    """
    names, labels = predictions.modalities, predictions.labels
    if len(names) < 2:
        return None
    logits, here, by = _models(predictions, unimodal)
    found = discrepancy({m: np.exp(log_likelihood(logits[m], labels)) for m in names}, here)
    cells = found.cells(bins)
    fused = correct(decision.fused, labels)
    right = {m: correct(logits[m], labels) for m in names}

    def measure(path: str, m: str, low: float, high: float, rows: Array) -> DiscrepancyBin:
        alone = {n: figures.mean(f"{path}.alone.{n}", right[n], rows[here[n][rows]], SHARE) for n in names}
        whole, gain = (
            figures.mean(f"{path}.fused", fused, rows, SHARE),
            figures.mean(f"{path}.gain", fused - right[m], rows, GAIN),
        )
        assert whole is not None  # there are rows
        assert gain is not None
        return DiscrepancyBin(low=low, high=high, samples=len(rows), fused=whole, alone=present(alone), gain=gain)

    preferred: dict[str, DiscrepancyBin] = {}
    parts: dict[str, dict[str, DiscrepancyBin]] = {}
    for k, m in enumerate(found.modalities):
        rows = np.flatnonzero(found.preferred == k)
        if not len(rows):
            continue
        preferred[m] = measure(f"discrepancy.preferred.{m}", m, 0.0, 1.0, rows)
        parts[m] = {
            str(b + 1): measure(f"discrepancy.bins.{m}.{b + 1}", m, b / bins, (b + 1) / bins, inside)
            for b in range(bins)
            if len(inside := np.flatnonzero(cells == k * bins + b))
        }
    return Discrepancy(by=by, preferred=preferred, bins=parts) if preferred else None


def _models(predictions: Predictions, unimodal: Predictions | None) -> tuple[dict[str, Array], dict[str, Array], str]:
    """Logits ``(N, C)`` of the unimodal models, whether each is there to decide ``(N,)``, and whose they are."""
    names = predictions.modalities
    here = dict(zip(names, predictions.present_mask().T, strict=True))
    if unimodal is None or not set(names) <= set(unimodal.modalities):
        return predictions.logits, here, "the modalities' own decisions"
    own, other = shared_rows([predictions, unimodal])
    theirs = dict(zip(unimodal.modalities, unimodal.present_mask().T, strict=True))
    logits = {m: np.zeros_like(predictions.logits[m]) for m in names}
    both = {m: np.zeros_like(here[m]) for m in names}
    for m in names:
        logits[m][own] = unimodal.logits[m][other]
        both[m][own] = here[m][own] & theirs[m][other]
    return logits, both, "the separately trained models"


@sections.register()
class DiscrepancySection(Section):
    """The fused accuracy against each modality's own, where that modality is preferred."""

    order = 90
    title = "Accuracy by preferred modality"
    full = True
    fields = {"discrepancy": (Discrepancy | None, None)}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        found = discrepancy_of(e.figures, e.predictions, e.decision, e.reference)
        if found is None:
            e.lacks("discrepancy", e.single or "no sample prefers one modality")
            return {}
        lacking = [m for m in e.names if m not in found.preferred]
        what = [f"discrepancy.{key}.{m}" for key in ("preferred", "bins") for m in lacking]
        e.lacks(what, "no sample prefers the modality")
        return {"discrepancy": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        if d.discrepancy is None:
            return []
        rows = [(m, part) for m, parts in d.discrepancy.bins.items() for part in parts.values()]
        columns = [
            Column("preferred modality", [m for m, _ in rows]),
            Column("discrepancy", [f"{part.low:.2f} to {part.high:.2f}" for _, part in rows]),
            Column("samples", [part.samples for _, part in rows]),
            Column("fused", [part.fused for _, part in rows], PERCENT),
            *(
                Column(f"{m} alone", [part.alone.get(m) for _, part in rows], PERCENT, drop=2 + k)
                for k, m in enumerate(d.data.modalities)
            ),
            Column("gain (pp)", [part.gain for _, part in rows], DIFFERENCE.bare()),
        ]
        caption = (
            f"Gain: fused less the preferred modality alone. The confidences of {d.discrepancy.by} also select the "
            "samples, so a negative gain is not a loss. Use it only to compare models."
        )
        return [Table.of(columns, caption=caption)]

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        names = d.data.modalities
        return {f"discrepancy.preferred.{m}.gain": (f"gain where {m} is preferred", DIFFERENCE) for m in names}
