"""Which modality the decision follows where the modalities disagree."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import AliasChoices, Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import ADDITIVE, Decision, own_decisions
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import GAIN, SHARE, Estimate
from mmbal.maths.scoring import decided_shares
from mmbal.predictions.format import Array, Predictions
from mmbal.registry import sections
from mmbal.tables import Column
from mmbal.text import SHARE as PERCENT
from mmbal.text import Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Preference(Frozen):
    """Which modality the decision follows."""

    disagreement: Estimate = Field(description="share of samples whose modalities decide differently")
    follows: Estimates = Field(description="of those samples, the share decided as the modality does")
    none: Estimate | None = Field(None, description="of those samples, the share decided as no modality does")
    lead: Estimates = Field({}, description="per pair 'a+b': how much more often a is followed than b")
    changes_without: Estimates = Field(
        validation_alias=AliasChoices("changes_without", "flips"),
        description="share of all samples decided differently without the modality",
    )


def disagreement(predictions: Predictions) -> Array:
    """Whether the modalities that decide a sample decide differently ``(N,)``."""
    decided, here = own_decisions(predictions)
    return np.where(here, decided, -1).max(axis=1) != np.where(here, decided, len(predictions.classes)).min(axis=1)


def preference_of(
    figures: Figures, predictions: Predictions, decision: Decision
) -> tuple[Preference | None, dict[str, Estimates]]:
    """How often the decision follows each modality, overall and by class; None where no sample has two that decide."""
    decided, here = own_decisions(predictions)
    differ = disagreement(predictions) & here.any(axis=1)
    several = here.sum(axis=1) > 1
    if not several.any():
        return None, {}
    fused, rows = decided_shares(decision.fused), np.arange(len(decided))
    agrees = fused[rows[:, None], decided] * here
    chosen = np.zeros(fused.shape, dtype=bool)
    for k in range(len(predictions.modalities)):
        chosen[rows[here[:, k]], decided[here[:, k], k]] = True
    follows, by_class, changes = {}, {}, {}
    for k, m in enumerate(predictions.modalities):
        counted = differ & here[:, k]
        follows[m] = figures.mean(f"preference.follows.{m}", agrees[:, k], np.flatnonzero(counted), SHARE)
        by_class[m] = figures.by_class(f"classes.{{}}.follows.{m}", agrees[:, k], counted, SHARE)
        without = decision.without(m)
        if without is not None:
            changed = predictions.present_mask()[:, k] * (1 - (decided_shares(without) * fused).sum(axis=1))
            changes[m] = figures.mean(f"preference.changes_without.{m}", changed, bounds=SHARE)
    rate = figures.mean("preference.disagreement", differ, np.flatnonzero(several), SHARE)
    assert rate is not None  # some sample has two modalities
    found = Preference(
        disagreement=rate,
        follows=present(follows),
        none=figures.mean("preference.none", 1 - (fused * chosen).sum(axis=1), np.flatnonzero(differ), SHARE),
        lead=_lead(figures, predictions.modalities, agrees, here & differ[:, None]),
        changes_without=present(changes),
    )
    return found, by_class


def _lead(figures: Figures, names: tuple[str, ...], agrees: Array, counted: Array) -> Estimates:
    """How much more often the first modality of each pair is followed than the second, on the samples of both.

    ``agrees (N, M)``: how far the decision is the modality's; ``counted (N, M)``: whether it decides and they disagree.
    """
    found = {}
    for i, j in combinations(range(len(names)), 2):
        pair, ahead = f"{names[i]}+{names[j]}", agrees[:, i] - agrees[:, j]
        found[pair] = figures.mean(
            f"preference.lead.{pair}", ahead, np.flatnonzero(counted[:, i] & counted[:, j]), GAIN
        )
    return present(found)


@sections.register()
class PreferenceSection(Section):
    """How often the decision follows each modality, and how often it changes without it."""

    order = 70
    needs_labels = False
    fields = {"preference": (Preference | None, None)}
    class_fields = {"follows": (Estimates, {})}
    renamed = {r"^preference\.flips\b": "preference.changes_without"}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        found, by_class = preference_of(e.figures, e.predictions, e.decision)
        for m, table in by_class.items():
            e.file("follows", table, m)
        if found is None:
            e.lacks("preference", e.single or "no sample has two modalities that decide")
            return {}
        if not found.follows:
            e.lacks([f"preference.{key}" for key in ("follows", "none", "lead")], "the modalities never disagree")
        else:
            pairs = (f"{a}+{b}" for a, b in combinations(e.names, 2))
            lacking = [f"follows.{m}" for m in e.names if m not in found.follows]
            lacking += [f"lead.{pair}" for pair in pairs if pair not in found.lead]
            e.lacks([f"preference.{path}" for path in lacking], "no sample on which modalities disagree has it")
        lacking = [m for m in e.names if m not in found.changes_without]
        e.lacks(
            [f"preference.changes_without.{m}" for m in lacking],
            "the decision without the modality is not known",
            ADDITIVE,
        )
        return {"preference": found}

    def modality_columns(self, d: Diagnosis) -> list[Column]:
        if d.preference is None:
            return []
        names, found = d.data.modalities, d.preference
        return [
            Column("follows", [*(found.follows.get(m) for m in names), None], PERCENT, drop=4),
            Column("changes without", [*(found.changes_without.get(m) for m in names), None], PERCENT, drop=7),
        ]

    def monitored(self, d: Diagnosis) -> dict[str, str]:
        found = {"preference.disagreement": "the modalities disagree"}
        for m in d.data.modalities:
            found |= {f"preference.follows.{m}": f"follows {m}"}
            found |= {f"preference.changes_without.{m}": f"changes without {m}"}
        return found

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        return {f"preference.follows.{m}": (f"follows {m}", PERCENT) for m in d.data.modalities}
