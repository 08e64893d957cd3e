"""The same figures where something else stands in for an absent modality, and how far they disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import Estimate
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import PLAIN, Form
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Baseline(Frozen):
    """What the diagnosis finds under one baseline."""

    index: Estimate | None
    contribution: Estimates
    capability: Estimates
    follows: Estimates
    claims: dict[str, str] = Field(description="what the verdict claims, without its figures")


DISAGREEMENT = "modality -> largest difference of its contribution between two baselines"


@sections.register()
class BaselinesSection(Section):
    """The contributions under other baselines: other things that stand in for an absent modality."""

    order = 130
    title = "Baselines"
    on_request = True
    fields = {
        "baselines": (dict[str, Baseline], Field({}, description="of other baselines than the file's own")),
        "disagreement": (dict[str, float], Field({}, description=DISAGREEMENT)),
    }

    def measure(self, e: Examination) -> Mapping[str, Any]:
        from mmbal.diagnosis.verdict import claims_of

        found = {}
        for name in e.predictions.baselines:
            d = e.under(name)
            follows = {} if d.preference is None else d.preference.follows
            found[name] = Baseline(
                index=d.index,
                contribution=d.contribution,
                capability=d.capability,
                follows=follows,
                claims=claims_of(d),
            )
        tables = [e.found.get("contribution", {}), *(one.contribution for one in found.values())]
        known = [m for m in e.names if found and all(m in table for table in tables)]
        values = {m: [table[m].value for table in tables] for m in known}
        return {"baselines": found, "disagreement": {m: max(v) - min(v) for m, v in values.items()}}

    def tables(self, d: Diagnosis) -> list[Table]:
        if not d.baselines:
            return []
        own = str(d.data.meta.get("baseline", "the file's own"))
        shares = [d.contribution, *(one.contribution for one in d.baselines.values())]
        columns = [
            Column("baseline", [own, *d.baselines]),
            *(Column(f"contribution of {m}", [table.get(m) for table in shares], PERCENT) for m in d.data.modalities),
            Column("imbalance index", [d.index, *(one.index for one in d.baselines.values())], PLAIN),
        ]
        apart = ", ".join(f"{m} {Form(0, 100.0, ' pp').text(gap)}" for m, gap in d.disagreement.items())
        return [Table.of(columns, caption=f"Largest difference of the contribution: {apart}." if apart else "")]
