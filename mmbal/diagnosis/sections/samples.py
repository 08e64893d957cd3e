"""How the modalities' own decisions relate, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import Decision, own_decisions
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.schema import NO_LABELS, Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.arrays import log_softmax
from mmbal.maths.bootstrap import SHARE, Estimate
from mmbal.maths.scoring import TIE, correct
from mmbal.predictions.format import Array, Predictions
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Preferred(Frozen):
    """The samples on whose true class one modality is the most confident (Balanced Audiovisual Dataset, 2302.10912)."""

    share: Estimate
    fused: Estimate = Field(description="accuracy of the model there")
    alone: Estimate = Field(description="accuracy of that modality there")


class Samples(Frozen):
    """Sample-level relations between the modalities' decisions."""

    preferred: dict[str, Preferred] = {}
    agreement: Estimates = Field(description="per pair 'a+b': the share decided alike")
    double_fault: Estimates = Field({}, description="per pair: the share that both get wrong")
    oracle: Estimate | None = Field(None, description="share that at least one modality gets right")


def samples_of(figures: Figures, predictions: Predictions, decision: Decision) -> Samples | None:
    """Preferred subsets, agreement, double faults and the oracle; None where no sample has two modalities."""
    decided, decides = own_decisions(predictions)
    here = predictions.present_mask()
    several = here.sum(axis=1) > 1
    if not several.any():
        return None
    if not predictions.labelled:
        return Samples(agreement=_agreement(figures, predictions, decided, decides))
    names, labels = predictions.modalities, predictions.labels
    right = np.stack([correct(predictions.logits[m], labels) for m in names], axis=1) * here
    fused = correct(decision.fused, labels)
    rows = np.arange(len(labels))
    confidence = np.stack([log_softmax(predictions.logits[m], axis=-1)[rows, labels] for m in names], axis=-1)
    confidence[~here] = -np.inf
    best = confidence.max(axis=1, keepdims=True)
    nearest = (confidence >= best - TIE * np.abs(best)).sum(axis=1)
    favourite = np.where(nearest == 1, confidence.argmax(axis=1), -1)
    preferred = {}
    for k, m in enumerate(names):
        chosen = np.flatnonzero(several & (favourite == k))
        path = f"samples.preferred.{m}"
        share = figures.mean(f"{path}.share", favourite == k, np.flatnonzero(several), SHARE)
        there = figures.mean(f"{path}.fused", fused, chosen, SHARE)
        alone = figures.mean(f"{path}.alone", right[:, k], chosen, SHARE)
        if share and there and alone:
            preferred[m] = Preferred(share=share, fused=there, alone=alone)
    double_fault = {}
    for i, j in combinations(range(len(names)), 2):
        pair, both = f"{names[i]}+{names[j]}", np.flatnonzero(here[:, i] & here[:, j])
        double_fault[pair] = figures.mean(
            f"samples.double_fault.{pair}", (1 - right[:, i]) * (1 - right[:, j]), both, SHARE
        )
    oracle = figures.mean("samples.oracle", 1 - (1 - right).prod(axis=1), bounds=SHARE)
    agreement = _agreement(figures, predictions, decided, decides)
    return Samples(preferred=preferred, agreement=agreement, double_fault=present(double_fault), oracle=oracle)


def _agreement(figures: Figures, predictions: Predictions, decided: Array, decides: Array) -> Estimates:
    """Share of the samples that two modalities decide alike, where both decide; ``decided`` and ``decides (N, M)``."""
    found = {}
    for i, j in combinations(range(decides.shape[1]), 2):
        pair, both = f"{predictions.modalities[i]}+{predictions.modalities[j]}", decides[:, i] & decides[:, j]
        alike = decided[:, i] == decided[:, j]
        found[pair] = figures.mean(f"samples.agreement.{pair}", alike, np.flatnonzero(both), SHARE)
    return present(found)


@sections.register()
class SamplesSection(Section):
    """The preferred modality of samples, and how the modalities' own decisions agree."""

    order = 80
    needs_labels = False
    title = "Sample by sample"
    full = True
    fields = {"samples": (Samples | None, None)}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        found = samples_of(e.figures, e.predictions, e.decision)
        if found is None:
            e.lacks("samples", e.single)
            return {}
        if not e.predictions.labelled:
            e.lacks([f"samples.{key}" for key in ("preferred", "double_fault", "oracle")], *NO_LABELS)
            return {"samples": found}
        lacking = [f"samples.preferred.{m}" for m in e.names if m not in found.preferred]
        e.lacks(lacking, "no sample prefers the modality")
        pairs = [f"{a}+{b}" for a, b in combinations(e.names, 2) if f"{a}+{b}" not in found.agreement]
        what = [f"samples.{key}.{pair}" for key in ("agreement", "double_fault") for pair in pairs]
        e.lacks(what, "no sample has both modalities")
        return {"samples": found}

    def monitored(self, d: Diagnosis) -> dict[str, str]:
        pairs = () if d.samples is None else d.samples.agreement
        return {f"samples.agreement.{pair}": f"{pair.replace('+', ' and ')} agree" for pair in pairs}

    def tables(self, d: Diagnosis) -> list[Table]:
        s = d.samples
        if s is None:
            return []
        preferred = [
            Column("preferred modality", list(s.preferred)),
            Column("share", [p.share for p in s.preferred.values()], PERCENT),
            Column("fused there", [p.fused for p in s.preferred.values()], PERCENT),
            Column("alone there", [p.alone for p in s.preferred.values()], PERCENT),
        ]
        pairs = [
            Column("pair", list(s.agreement)),
            Column("agree", list(s.agreement.values()), PERCENT),
            Column("both wrong", [s.double_fault.get(pair) for pair in s.agreement], PERCENT),
        ]
        if s.oracle is None:
            return [Table.of(pairs)]
        oracle = f"At least one modality is right in {PERCENT.text(s.oracle)} of the samples."
        return [*([Table.of(preferred)] if s.preferred else []), Table.of(pairs, caption=oracle)]
