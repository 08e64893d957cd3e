"""Norms of features, decision weights and contributions, by modality and class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import AliasChoices, Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import ADDITIVE, Decision, centred
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.heads import standardise
from mmbal.predictions.format import Array, Predictions
from mmbal.registry import sections
from mmbal.tables import Column, Table

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


PARTS = {
    "features": ("features", "features_{}"),
    "weights": ("weights of a linear head", "weight_{}"),
    "contribution": ("contributions", ADDITIVE),
}


class Norm(Frozen):
    """A norm of one modality, raw and with standardised features, and how it differs from the other modalities'."""

    raw: Estimate
    standardised: Estimate | None = None
    effect: float | None = Field(
        None, description="standardised mean difference of log raw norm to the others' mean (Cohen's d)"
    )


class Norms(Frozen):
    """Norms of the feature z, of the rows of the decision weights W, and of the contribution W z (class-centred)."""

    features: Norm | None = None
    weights: Norm | None = None
    contribution: Norm | None = Field(None, validation_alias=AliasChoices("contribution", "votes"))


class ClassNorms(Frozen):
    """Mean norms of one modality over the samples of one class."""

    features: float | None = None
    weights: float | None = None
    contribution: float | None = Field(None, validation_alias=AliasChoices("contribution", "votes"))


def norms_of(
    figures: Figures, predictions: Predictions, decision: Decision
) -> tuple[dict[str, Norms], dict[str, dict[str, ClassNorms]]]:
    """Norms per modality, and per modality and class.

    Of z the length of a feature vector, of W the length of a class's row, of W z the length of the class-centred part
    of the fused logits. Standardised: the feature dimensions have unit spread, and W is rescaled so that W z keeps its
    meaning (less a constant offset). W does not depend on the samples, so it has no interval.
    """
    here = predictions.present_mask()
    rows = {m: np.flatnonzero(here[:, k]) for k, m in enumerate(predictions.modalities) if here[:, k].any()}
    tables = {m: _lengths(predictions, decision, m, own) for m, own in rows.items()}
    overall, by_class = {}, {}
    for m, table in tables.items():
        found = {}
        for part, (raw, standardised) in table.items():
            own = None if part == "weights" else rows[m]
            others = [other[part][0] for name, other in tables.items() if name != m and part in other]
            found[part] = Norm(
                raw=_mean(figures, f"norms.{m}.{part}.raw", raw, own),
                standardised=None
                if standardised is None
                else _mean(figures, f"norms.{m}.{part}.standardised", standardised, own),
                effect=_effect(raw, others),
            )
        if found:
            overall[m] = Norms(**found)
        by_class[m] = {c: _class_norms(table, k, figures.labels[rows[m]]) for k, c in enumerate(predictions.classes)}
    return overall, by_class


def _lengths(
    predictions: Predictions, decision: Decision, m: str, rows: Array
) -> dict[str, tuple[Array, Array | None]]:
    """Raw and standardised lengths: of features and contributions per sample of ``rows``, of weights per class."""
    found: dict[str, tuple[Array, Array | None]] = {}
    z = predictions.features[m][rows] if m in predictions.features else None
    if z is not None:
        found["features"] = (_length(z), _length(standardise(z)[0]))
    if m in predictions.weight:
        w = predictions.weight[m] - predictions.weight[m].mean(axis=0)
        found["weights"] = (_length(w), None if z is None else _length(w * z.std(axis=0)))
    if m in decision.contribution:
        parts = centred(decision.contribution[m][rows])
        found["contribution"] = (_length(parts), _length(parts - parts.mean(axis=0)))
    return found


def _length(rows: Array) -> Array:
    value: Array = np.linalg.norm(rows, axis=1)
    return value


def _mean(figures: Figures, path: str, values: Array, rows: Array | None) -> Estimate:
    estimate = None if rows is None else figures.add(path, figures.boot.means(values, rows), len(rows))
    return Estimate(value=float(values.mean())) if estimate is None else estimate


def _class_norms(table: dict[str, tuple[Array, Array | None]], k: int, labels: Array) -> ClassNorms:
    """Mean raw lengths over the samples of class ``k``, and the length of its row of the weights."""
    inside = {part: raw[[k]] if part == "weights" else raw[labels == k] for part, (raw, _) in table.items()}
    return ClassNorms(**{part: float(values.mean()) for part, values in inside.items() if len(values)})


def _effect(values: Array, others: list[Array]) -> float | None:
    """Cohen's d between the log norms of one modality and those of the others, equal weight each."""
    logs = [np.log(np.maximum(v, 1e-12)) for v in (values, *others)]
    if not others:
        return None
    spread = np.sqrt(np.mean([v.var() for v in logs]))
    gap = logs[0].mean() - np.mean([v.mean() for v in logs[1:]])
    return float(gap / spread) if spread > 1e-9 else None


@sections.register()
class NormsSection(Section):
    """Norms of features, weights and contributions, overall and by class."""

    order = 100
    title = "Norms"
    full = True
    fields = {"norms": (dict[str, Norms], {})}
    class_fields = {"norms": (dict[str, ClassNorms], {})}
    renamed = {r"^((?:classes\..+\.)?norms\..+)\.votes\b": r"\1.contribution"}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        found, by_class = norms_of(e.figures, e.predictions, e.decision)
        for m, table in by_class.items():
            e.file("norms", table, m)
        if not found:
            e.lacks("norms", "the predictions hold neither features nor weights nor contributions")
            return {}
        for m in e.names:
            own = found.get(m, Norms())
            if not e.here(m).any():
                e.lacks(f"norms.{m}", "the modality is missing from every sample")
                continue
            for part, (what, needs) in PARTS.items():
                norm = getattr(own, part)
                if norm is None:
                    e.lacks(f"norms.{m}.{part}", f"the predictions hold no {what}", needs.format(m))
                elif norm.standardised is None:
                    e.lacks(f"norms.{m}.{part}.standardised", "the predictions hold no features", f"features_{m}")
        return {"norms": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        rows = [
            (f"{symbol} {m}", norm)
            for symbol, part in (("z", "features"), ("W", "weights"), ("W z", "contribution"))
            for m, norms in d.norms.items()
            if (norm := getattr(norms, part)) is not None
        ]
        if not rows:
            return []
        columns = [
            Column("norm of", [name for name, _ in rows]),
            Column("raw", [norm.raw.value for _, norm in rows]),
            Column("standardised", [norm.standardised and norm.standardised.value for _, norm in rows]),
            Column("effect (d)", [norm.effect for _, norm in rows]),
        ]
        return [Table.of(columns, caption="z: feature. W: decision weights. W z: contribution.")]
