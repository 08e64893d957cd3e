"""Contribution against capability: how much each modality counts, and how much it should.

The mathematics stands in :mod:`mmbal.diagnosis.balance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.balance import Shares, adjusted_p_values, claims_of, contrast_of, shares_of
from mmbal.diagnosis.coalitions import ADDITIVE
from mmbal.diagnosis.figures import present
from mmbal.diagnosis.schema import NO_LABELS, Estimates
from mmbal.diagnosis.section import Section
from mmbal.diagnosis.weights import layer_of
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column
from mmbal.text import PLAIN, WHOLE, Form
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Balance(Frozen):
    """One modality's contribution against its capability."""

    difference: Estimate = Field(description="contribution minus capability; negative: it contributes too little")
    weight: Estimate = Field(description="what its part should be multiplied by, relative to the mean modality")
    p: float | None = Field(description="of 'the difference is zero', after Holm's correction")
    flag: str | None = Field(description="'too little', 'too much', or null where no imbalance is shown")


INDEX = "imbalance index in [0, 1]; 0: every contribution equals its capability"
CONTRIBUTION = "share of each modality in the decision"
CAPABILITY = "share of each modality in the evidence: its contribution, best weighted"


@sections.register()
class BalanceSection(Section):
    """The imbalance index, and each modality's contribution and capability, overall and by class."""

    order = 10
    needs_labels = False
    fields = {
        "index": (Estimate | None, Field(None, description=INDEX)),
        "contribution": (Estimates, Field({}, description=CONTRIBUTION)),
        "capability": (Estimates, Field({}, description=CAPABILITY)),
        "balance": (dict[str, Balance], {}),
    }
    class_fields = {"contribution": (Estimates, {}), "capability": (Estimates, {}), "balance": (dict[str, Balance], {})}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        if len(e.names) == 1:
            e.lacks(self.fields, e.single)
            return {}
        if not e.decision.contribution:
            e.lacks(self.fields, "the modalities' contributions to the fused decision are not known", ADDITIVE)
            return {}
        if not e.predictions.labelled:
            e.lacks(("index", "capability", "balance"), *NO_LABELS)
            return {"contribution": _claims(e)}
        _claims(e)
        layer = layer_of(e.decision, e.predictions)
        shares = shares_of(layer, e.figures.boot)
        # the tests rest on the jackknife, which no seed changes
        overall_p, class_p = adjusted_p_values(contrast_of(layer, e.figures.boot.jackknife()))
        found = _shares(e, "", shares.contribution, shares.capability, shares, overall_p, len(e.predictions))
        flags = [b.flag for b in found["balance"].values()]
        for k, c in enumerate(e.predictions.classes):
            contribution, capability = shares.class_contribution[:, k], shares.class_capability[:, k]
            n = int(shares.class_samples[0, k])
            own = _shares(e, f"classes.{c}.", contribution, capability, shares, class_p[k], n)
            flags += [b.flag for b in own["balance"].values()]
            for section, table in own.items():
                e.file(section, {c: table})
        index = e.figures.add("index", shares.index)
        if index is None or not found["capability"]:
            lacking = [key for key in self.fields if key == "index" or not found[key]]
            e.lacks(lacking, "no modality's contribution carries any evidence, so there is no capability")
            return found
        # An average of distances is never negative; where no difference stands the test, zero is not excluded.
        known = any(flags) or index.low is None
        return {**found, "index": index if known else index.model_copy(update={"low": 0.0})}

    def modality_columns(self, d: Diagnosis) -> list[Column]:
        names = d.data.modalities
        return [
            Column("capability", [*(d.capability.get(m) for m in names), None], WHOLE),
            Column("contribution", [*(d.contribution.get(m) for m in names), None], WHOLE, bar=8),
        ]

    def class_columns(self, d: Diagnosis, wide: bool) -> list[Column]:
        known = d.sampled().values()
        found = []
        for m in d.data.modalities if wide else filter(None, [focus(d)]):
            marks = [f"◀ {c.balance[m].flag}" if m in c.balance and c.balance[m].flag else "" for c in known]
            found += [
                Column(f"contribution of {m}", [c.contribution.get(m) for c in known], WHOLE, bar=0 if wide else 6),
                Column(f"capability of {m}", [c.capability.get(m) for c in known], WHOLE),
                Column("", marks, left=True),
            ]
        return found

    def monitored(self, d: Diagnosis) -> dict[str, str]:
        return {f"contribution.{m}": f"contribution of {m}" for m in d.contribution}

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        kinds = ("contribution", "capability")
        each = {f"{kind}.{m}": (f"{kind} of {m}", PERCENT) for kind in kinds for m in d.data.modalities}
        return {"index": ("imbalance index", PLAIN), **each}


def focus(d: Diagnosis) -> str | None:
    """The modality whose contribution by class is shown: the one that is furthest below its capability."""
    return min(d.balance, key=lambda m: d.balance[m].difference.value) if d.balance else None


def _claims(e: Examination) -> Estimates:
    """The contributions, with standard errors that no seed changes; no labels are needed."""
    replicates, values = claims_of(e.decision, e.predictions, e.figures.boot)
    found = {}
    for k, m in enumerate(e.names):
        path = f"contribution.{m}"
        found[m] = e.figures.add(path, replicates[:, k], len(e.predictions))
        if np.isfinite(values[:, k]).all():
            e.figures.means[path] = e.figures.boot.mean_of(values[:, k])
    return present(found)


def _shares(
    e: Examination,
    path: str,
    contribution: Array,
    capability: Array,
    shares: Shares,
    p_values: list[float | None],
    support: int,
) -> dict[str, Any]:
    """The three tables over all classes or one, from replicates of the shares ``(1 + B, M)``.

    A decision that is not shown to be better than chance has no contribution that is too much or too little.
    """
    found: dict[str, dict[str, Any]] = {"contribution": {}, "capability": {}, "balance": {}}
    level = 1 - e.figures.boot.confidence
    for k, m in enumerate(e.names):
        own, best = contribution[:, k], capability[:, k]
        found["contribution"][m] = e.figures.add(f"{path}contribution.{m}", own, support)
        found["capability"][m] = e.figures.add(f"{path}capability.{m}", best, support)
        difference = e.figures.add(f"{path}balance.{m}.difference", own - best, support)
        weight = e.figures.add(f"{path}balance.{m}.weight", shares.relative_weight[:, k])
        if difference is not None and weight is not None:
            p = p_values[k]
            shown = e.learned and p is not None and p < level
            flag = ("too little" if difference.value < 0 else "too much") if shown else None
            found["balance"][m] = Balance(difference=difference, weight=weight, p=p, flag=flag)
    return {
        "contribution": present(found["contribution"]),
        "capability": present(found["capability"]),
        "balance": found["balance"],
    }
