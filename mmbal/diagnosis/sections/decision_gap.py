"""What a fitted decision rule gains over the decision as it is: what is lost at the decision layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.diagnosis import decomposition
from mmbal.diagnosis.schema import Gap
from mmbal.diagnosis.section import Section
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class ClassGap(Gap):
    """What the fitted rule gains on one class; negative where it loses."""

    p: float | None = Field(
        None,
        description="of 'it changes nothing in the class's accuracy': paired sign test, after Holm over the classes",
    )
    flag: str | None = Field(None, description="'gains', 'loses', or null where no change is shown")


@sections.register()
class DecisionGapSection(Section):
    """The decision gap, and by class what the rule gains and loses."""

    order = 20
    effort = 40.0
    title = "Lost by class"
    full = True
    fields = {"decision_gap": (Gap | None, None)}
    class_fields = {"decision_gap": (ClassGap | None, None)}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        p = e.predictions
        if len(np.unique(p.labels)) < 2:
            e.lacks("decision_gap", "a rule can't be fitted to fewer than two classes")
            return {}
        gap, by_class, tested = decomposition.decision_gap(e.figures, e.decision.fused, e.best, p.group)
        e.file("decision_gap", class_gaps(by_class, tested, 1 - e.figures.boot.confidence))
        return {"decision_gap": gap}

    def tables(self, d: Diagnosis) -> list[Table]:
        known = d.sampled()
        gaps = [c.decision_gap for c in known.values()]
        encoders = [c.representation_gap for c in known.values()]
        columns = [
            Column("class", list(known)),
            Column("decision gap (pp)", [g and g.accuracy for g in gaps], DIFFERENCE.bare()),
            Column("", [f"◀ the rule {g.flag}" if g and g.flag else "" for g in gaps], left=True),
            Column("representation gap (pp)", [g and g.accuracy for g in encoders], DIFFERENCE.bare()),
        ]
        return [Table.of(columns)] if len(Table.of(columns).columns) > 1 else []

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        return {"decision_gap.accuracy": ("decision gap", DIFFERENCE)}


def class_gaps(by_class: Mapping[str, Gap], p: Mapping[str, float], level: float) -> dict[str, ClassGap]:
    """The gap of each class with its ``p``, and whether the class gains or loses at the ``level``."""
    found = {}
    for c, gap in by_class.items():
        flag = ("gains" if gap.accuracy.value > 0 else "loses") if p[c] < level else None
        found[c] = ClassGap(**dict(gap), p=p[c], flag=flag)
    return found
