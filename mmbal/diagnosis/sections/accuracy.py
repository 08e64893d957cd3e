"""How often the model, each modality alone, a probe of its features and a separately trained encoder are right."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.decomposition import reference_accuracy
from mmbal.diagnosis.schema import NO_REFERENCE, Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import GAIN, ROUNDING, SHARE, Estimate
from mmbal.maths.distributions import normal_quantile
from mmbal.maths.scoring import correct, decided_shares
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column
from mmbal.text import SHARE as PERCENT
from mmbal.text import WHOLE, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

HALF_WIDTH = 0.1  # a verdict needs the accuracy to within 10 pp


class Accuracy(Frozen):
    """Shares of samples decided rightly."""

    fused: Estimate
    alone: Estimates = Field(description="by the modality's own decision, over the samples that have it")
    probe: Estimates = Field(description="by a linear probe on its features, held out")
    reference: Estimates = Field(description="by the same probe on (or the decision of) the separately trained encoder")
    best: str = Field(description="the modality that is right most often alone")
    fusion_gain: Estimate = Field(description="fused less the best modality alone; interval widened for the choice")
    chance: float = Field(description="share of the most frequent class")
    above_chance: Estimate | None = Field(
        None, description="fused less the accuracy of the same decisions when they are shuffled over the samples"
    )
    above_majority: Estimate | None = Field(None, description="fused less chance, paired")
    samples_needed: int | None = Field(
        None, description="samples with which the interval of above_chance would reach 10 pp to each side"
    )


@sections.register()
class AccuracySection(Section):
    """Accuracy, of the whole and of each class."""

    order = 0
    fields = {"accuracy": (Accuracy | None, None)}
    class_fields = {"fused": (Estimate | None, None), "alone": (Estimates, {}), "probe": (Estimates, {})}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        p, figures = e.predictions, e.figures
        fused = correct(e.decision.fused, p.labels)
        e.file("fused", figures.by_class("classes.{}.fused", fused, bounds=SHARE))
        right = {m: correct(p.logits[m], p.labels) for m in e.names}
        probed = {m: correct(probe.logits, p.labels) for m, probe in e.probes.items()}
        found: dict[str, Estimates] = {"alone": {}, "probe": {}, "reference": {}}
        for kind, table in (("alone", right), ("probe", probed)):
            for m, values in table.items():
                estimate = figures.mean(f"accuracy.{kind}.{m}", values, np.flatnonzero(e.here(m)), SHARE)
                if estimate is None:
                    e.lacks(f"accuracy.{kind}.{m}", "the modality is missing from every sample")
                    continue
                found[kind][m] = estimate
                e.file(kind, figures.by_class(f"classes.{{}}.{kind}.{m}", values, e.here(m), SHARE), m)
        if e.readout is None:
            e.lacks("accuracy.reference", *NO_REFERENCE)
        else:
            found["reference"] = reference_accuracy(figures, e.readout)
            lacking = [f"accuracy.reference.{m}" for m in e.names if m not in found["reference"]]
            e.lacks(lacking, "no sample has the modality in both, the model and the reference")
        best = max(found["alone"], key=lambda m: found["alone"][m].value)
        doubt = (1 - figures.boot.confidence) / len(e.names)  # Bonferroni: the best modality is picked
        gain = figures.mean("accuracy.fusion_gain", fused - right[best], np.flatnonzero(e.here(best)), GAIN, 1 - doubt)
        whole = {
            **found,
            "fused": figures.mean("accuracy.fused", fused, bounds=SHARE),
            "best": best,
            "fusion_gain": gain,
            "chance": float(np.bincount(p.labels).max() / len(p)),
            **above_chance(e, fused),
        }
        return {"accuracy": Accuracy.model_validate(whole)}

    def modality_columns(self, d: Diagnosis) -> list[Column]:
        names, a = d.data.modalities, d.accuracy
        if a is None:
            return []
        return [
            Column("accuracy alone", [*(a.alone.get(m) for m in names), a.fused], PERCENT),
            Column("probe", [*(a.probe.get(m) for m in names), None], PERCENT, drop=6),
            Column("reference", [*(a.reference.get(m) for m in names), None], PERCENT, drop=5),
        ]

    def class_columns(self, d: Diagnosis, wide: bool) -> list[Column]:
        known = d.sampled()
        alone = [
            Column(f"{m} alone", [c.alone.get(m) for c in known.values()], WHOLE, drop=3) for m in d.data.modalities
        ]
        return [*alone, Column("fused", [c.fused for c in known.values()], WHOLE, drop=2)]

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        names = d.data.modalities
        return {
            "accuracy.fused": ("accuracy", PERCENT),
            **{f"accuracy.alone.{m}": (f"{m} alone", PERCENT) for m in names},
            **{f"accuracy.probe.{m}": (f"{m}, probe", PERCENT) for m in names},
            **{f"classes.{c}.fused": (f"class {c}", PERCENT) for c in d.classes},
        }


def above_chance(e: Examination, right: Array) -> dict[str, Any]:
    """The decision against chance, and how many samples a verdict takes; ``right (N,)`` says where it is right.

    Chance is what the same decisions would get if they were shuffled over the samples: sum_c p_c q_c, where class c
    has the share p_c of the labels and q_c of the decisions. Accuracy above chance is the mean over the samples of
    right - q[label] - p[decision] + chance, whose spread is that of the estimate, since p and q are estimated too.
    """
    figures, labels, n = e.figures, e.predictions.labels, len(e.predictions)
    decided, c = decided_shares(e.decision.fused), len(e.predictions.classes)
    p, q = np.bincount(labels, minlength=c) / n, decided.mean(axis=0)
    terms = right - q[labels] - decided @ p + p @ q
    terms[np.abs(terms) < ROUNDING] = 0.0  # one class, or one decision, has no accuracy above chance in any sample
    above = figures.mean("accuracy.above_chance", terms)
    majority = figures.mean(
        "accuracy.above_majority", right - ((p == p.max()) / (p == p.max()).sum())[labels], bounds=GAIN
    )
    half = normal_quantile((1 + figures.boot.confidence) / 2) * figures.boot.mean_of(terms, bounds=GAIN).error
    needed = n * (half / HALF_WIDTH) ** 2
    return {
        "above_chance": above,
        "above_majority": majority,
        "samples_needed": ceil(needed) if np.isfinite(needed) else None,
    }
