"""The total loss: the sum of the decision gap and the representation gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, Field

from mmbal.diagnosis import decomposition
from mmbal.diagnosis.schema import Gap
from mmbal.diagnosis.section import Section
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, NATS_DIFFERENCE

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


@sections.register()
class TotalSection(Section):
    """The sum of the two gaps, and the table of what is lost where."""

    order = 40
    title = "What is lost, and where"
    fields = {
        "total": (
            Gap | None,
            Field(
                None,
                validation_alias=AliasChoices("total", "shortfall"),
                description="decision gap + representation gap",
            ),
        )
    }
    renamed = {r"^shortfall\b": "total"}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        found = decomposition.total(e.figures)
        if found is None:
            e.lacks("total", "it is the sum of the decision gap and the representation gap, and both must be known")
        return {"total": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        rows: list[tuple[str, Gap]] = []
        if d.decision_gap is not None:
            rows.append(("decision gap", d.decision_gap))
        if d.representation_gap is not None:
            rows.append(("representation gap", d.representation_gap))
            rows += [(f"  {m} alone", gap) for m, gap in d.representation_gap.modalities.items()]
        if d.total is not None:
            rows.append(("total", d.total))
        if not rows:
            return []
        how = d.settings.fitted_on
        how = "fitted on the calibration split" if how == "calibration split" else how
        columns = [
            Column("lost", [name for name, _ in rows]),
            Column("accuracy (pp)", [gap.accuracy for _, gap in rows], DIFFERENCE.bare()),
            Column("log-likelihood (nats)", [gap.nats for _, gap in rows], NATS_DIFFERENCE),
        ]
        return [Table.of(columns, caption=f"Decision gap: to the rule '{d.settings.rule}', {how}.")]
