"""Contribution, capability, the index and both gaps within segments: the values of a property, such as sex, age or site.

Every segment is diagnosed on its own samples: weights, shares and intervals are those of the segment. A property of many
different numbers is cut into four ranges with about the same number of samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.balance import adjusted_p_values, contrast_of, shares_of
from mmbal.diagnosis.claims import learned, negated
from mmbal.diagnosis.coalitions import correct, decision_of
from mmbal.diagnosis.figures import present
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.diagnosis.weights import layer_of
from mmbal.diagnosis.words import percent
from mmbal.maths.bootstrap import GAIN, MIN_SAMPLES, SHARE, Bootstrap, Estimate
from mmbal.maths.significance import holm
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, PLAIN, PP
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

MOST_VALUES = 8  # a property of more different numbers is cut into ranges
RANGES = 4
TESTS = {  # what is tested in each segment -> the word for it, where it is shown
    "difference": ("less accurate", "more accurate"),
    "balance": ("imbalanced", "imbalanced"),
    "decision_gap": ("loses at the decision layer", "the rule loses"),
    "representation_gap": ("loses in the encoders", "better encoders"),
}


class Segment(Frozen):
    """The samples with one value of a property."""

    samples: int
    accuracy: Estimate
    difference: Estimate = Field(description="accuracy less that of all other samples")
    contribution: Estimates = {}
    capability: Estimates = {}
    index: Estimate | None = None
    decision_gap: Estimate | None = Field(None, description="in accuracy")
    representation_gap: Estimate | None = Field(None, description="in accuracy")
    p: dict[str, float] = Field({}, description="by test, after Holm's correction over all segments")
    flags: list[str] = Field([], description="what the tests show")


def segments_of(values: Array) -> Array:
    """The segment of each sample ``(N,)``, from the values of a property; many numbers become ranges."""
    try:
        numbers = values.astype(float)
    except ValueError:
        return values
    if len(np.unique(values)) <= MOST_VALUES or not np.isfinite(numbers).all():
        return values
    ends = np.unique(np.quantile(numbers, np.linspace(0, 1, RANGES + 1)[1:-1], method="inverted_cdf"))
    place = np.searchsorted(ends, numbers)  # a range ends with its quantile
    names = {k: _range(numbers[place == k]) for k in np.unique(place).tolist()}
    return np.array([names[k] for k in place.tolist()])


def _range(numbers: Array) -> str:
    low, high = f"{numbers.min():g}", f"{numbers.max():g}"
    return low if low == high else f"{low} to {high}"


def against_others(values: Array, inside: Array) -> Array:
    """Values ``(N,)`` whose mean is that of ``values`` inside less that outside, with its spread (delta method)."""
    means = values[inside].mean(), values[~inside].mean()
    away = np.where(inside, (values - means[0]) / inside.mean(), -(values - means[1]) / (~inside).mean())
    found: Array = means[0] - means[1] + away
    return found


@sections.register()
class SegmentsSection(Section):
    """The main figures by segment, and what is shown there after Holm's correction over all segments."""

    order = 145
    effort = 15.0
    title = "Segments"
    full = True
    on_request = True
    fields = {
        "segments": (
            dict[str, dict[str, Segment]],
            Field({}, description="property (group_<name>) -> value -> figures of these samples"),
        )
    }

    def measure(self, e: Examination) -> Mapping[str, Any]:
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for name, values in e.predictions.segments.items():
            place = segments_of(values)
            for value in np.unique(place).tolist():
                inside = place == value
                if MIN_SAMPLES <= inside.sum() < len(place):
                    found[name, value] = _measured(e, f"segments.{name}.{value}", inside)
                else:
                    few = f"the segment has fewer than {MIN_SAMPLES} samples"
                    e.lacks(
                        f"segments.{name}.{value}", few if inside.sum() < MIN_SAMPLES else "all samples have this value"
                    )
        level = 1 - e.figures.boot.confidence
        for test, (less, more) in TESTS.items():
            keys = [key for key, own in found.items() if own["p"].get(test) is not None]
            for key, p in zip(
                keys, holm([found[key]["p"][test] for key in keys]).tolist() if keys else [], strict=True
            ):
                own = found[key]
                own["p"][test] = p
                if p < level and (e.learned or test == "difference"):
                    negative = test == "difference" and own["difference"].value < 0
                    positive = test not in ("difference", "balance") and own[test].value > 0
                    own["flags"].append(less if negative or positive or test == "balance" else more)
        document: dict[str, dict[str, Segment]] = {}
        for (name, value), own in found.items():
            own["p"] = {test: p for test, p in own["p"].items() if p is not None}
            document.setdefault(name, {})[value] = Segment(**own)
        return {"segments": document}

    def tables(self, d: Diagnosis) -> list[Table]:
        rows = [(f"{name}: {value}", s) for name, own in d.segments.items() for value, s in own.items()]
        if not rows:
            return []
        found = [s for _, s in rows]
        first = d.data.modalities[0]
        columns = [
            Column("segment", [label for label, _ in rows]),
            Column("n", [s.samples for s in found], drop=9),
            Column("accuracy", [s.accuracy for s in found], PERCENT),
            Column("less the others (pp)", [s.difference for s in found], DIFFERENCE.bare(), drop=1),
            Column(f"contribution of {first}", [s.contribution.get(first) for s in found], PERCENT, drop=3),
            Column("capability", [s.capability.get(first) for s in found], PERCENT, drop=3),
            Column("index", [s.index for s in found], PLAIN, drop=2),
            Column("decision gap (pp)", [s.decision_gap for s in found], DIFFERENCE.bare(), drop=4),
            Column("representation gap (pp)", [s.representation_gap for s in found], DIFFERENCE.bare(), drop=5),
            Column("", ["◀ " + ", ".join(s.flags) if s.flags else "" for s in found], left=True),
        ]
        return [
            Table.of(columns, caption="A mark stands where a test shows it, after Holm's correction over all segments.")
        ]

    def sentences(self, d: Diagnosis) -> list[str]:
        rows = [(f"{name} {value}", s) for name, own in d.segments.items() for value, s in own.items()]
        if not rows or not learned(d):
            return []
        worse = [(s.difference.value, label, s) for label, s in rows if "less accurate" in s.flags]
        if not worse:
            return ["No segment is shown to be less accurate than the others."]
        _, label, s = min(worse, key=lambda one: one[0])
        others = ", ".join(flag for flag in s.flags if flag != "less accurate")
        more = f"; it is also marked '{others}'" if others else ""
        return [
            f"The worst segment is {label}: the model is right in {percent(s.accuracy)} of it, "
            f"{PP.text(negated(s.difference))} less often than in the others{more}."
        ]


def _measured(e: Examination, path: str, inside: Array) -> dict[str, Any]:
    """The figures of the samples ``inside (N,)``, and the p of each test before the correction."""
    p, figures, rows = e.predictions, e.figures, np.flatnonzero(inside)
    right = correct(e.decision.fused, p.labels)
    found: dict[str, Any] = {"samples": len(rows), "flags": [], "p": {}}
    found["accuracy"] = figures.mean(f"{path}.accuracy", right, rows, SHARE)
    found["difference"] = figures.mean(f"{path}.difference", against_others(right, inside))
    if e.decision.contribution and len(e.names) > 1:
        found |= _shares(e, path, rows)
    if "decision_gap" in e.found:
        gain = correct(e.best, p.labels) - right
        found["decision_gap"] = figures.mean(f"{path}.decision_gap", gain, rows, GAIN)
    if e.readout is not None:
        read = e.readout
        own = np.flatnonzero(inside[read.rows])
        labels = p.labels[read.rows]
        gain = correct(read.reference_fused.log_p, labels) - correct(read.model_fused.log_p, labels)
        found["representation_gap"] = figures.mean(
            f"{path}.representation_gap", read.spread(gain, figures), read.rows[own], GAIN
        )
    for test in TESTS:
        mean = figures.means.get(f"{path}.{test}")
        if mean is not None:
            found["p"][test] = mean.p
    return found


def _shares(e: Examination, path: str, rows: Array) -> dict[str, Any]:
    """Contribution, capability and index of some rows, with the p of "each contribution equals its capability"."""
    own, boot = e.predictions.take(rows), e.figures.boot
    decision = decision_of(own)
    drawn = Bootstrap.of(len(rows), own.group, boot.replicates, e.seed, boot.confidence)
    known = drawn.unit == boot.unit  # too few groups have no interval and no test: their samples are not independent
    layer = layer_of(decision, own)
    shares = shares_of(layer, drawn)
    overall, _ = adjusted_p_values(contrast_of(layer, drawn.jackknife()))
    tested = [p for p in overall if p is not None and known]
    support = len(rows) if known else 0
    found: dict[str, Any] = {"index": e.figures.add(f"{path}.index", shares.index, support)}
    for kind, values in (("contribution", shares.contribution), ("capability", shares.capability)):
        figures = {m: e.figures.add(f"{path}.{kind}.{m}", values[:, k], support) for k, m in enumerate(e.names)}
        found[kind] = present(figures)
    return {**found, "p": {"balance": min(tested)} if tested else {}}
