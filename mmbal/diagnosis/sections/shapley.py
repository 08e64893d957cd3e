"""Shapley values of accuracy and log-likelihood over coalitions of modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import ADDITIVE, MAX_MODALITIES, log_likelihood
from mmbal.diagnosis.figures import present
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import SHARE
from mmbal.maths.scoring import correct
from mmbal.maths.shapley import shapley_values
from mmbal.predictions.format import subsets_of
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import NATS_DIFFERENCE
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Shapley(Frozen):
    """Shapley values over modality coalitions; they sum to the value of all minus the value of none."""

    accuracy: Estimates
    log_likelihood: Estimates = Field(description="nats a sample")
    none: dict[str, float] = Field(description="value of the empty coalition: a uniform guess unless the file gives it")
    helps: Estimates = Field(description="share of samples whose log-likelihood the modality raises")


@sections.register()
class ShapleySection(Section):
    """What each modality adds, averaged over all orders in which modalities join."""

    order = 50
    title = "Shapley values"
    full = True
    fields = {"shapley": (Shapley | None, None)}
    class_fields = {"shapley": (Estimates, Field({}, description="of accuracy"))}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        if len(e.names) > MAX_MODALITIES:
            e.lacks("shapley", f"exact values are computed for at most {MAX_MODALITIES} modalities")
            return {}
        labels, right, likely = e.predictions.labels, {}, {}
        for names in subsets_of(e.names):
            logits = e.decision.coalition(names)
            if logits is None:
                e.lacks("shapley", "the decision without some modalities is not known", ADDITIVE)
                return {}
            right[names], likely[names] = correct(logits, labels), log_likelihood(logits, labels)
        gains, nats = shapley_values(right, e.names), shapley_values(likely, e.names)
        figures = e.figures
        for m, values in gains.items():
            e.file("shapley", figures.by_class(f"classes.{{}}.shapley.{m}", values), m)
        found = Shapley(
            accuracy=present({m: figures.mean(f"shapley.accuracy.{m}", v) for m, v in gains.items()}),
            log_likelihood=present({m: figures.mean(f"shapley.log_likelihood.{m}", v) for m, v in nats.items()}),
            none={"accuracy": float(right[()].mean()), "log_likelihood": float(likely[()].mean())},
            helps=present({m: figures.mean(f"shapley.helps.{m}", v > 0, bounds=SHARE) for m, v in nats.items()}),
        )
        return {"shapley": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        s, names = d.shapley, d.data.modalities
        if s is None:
            return []
        columns = [
            Column("Shapley value", names),
            Column("of accuracy", [s.accuracy.get(m) for m in names], PERCENT),
            Column("of log-likelihood", [s.log_likelihood.get(m) for m in names], NATS_DIFFERENCE),
            Column("helps", [s.helps.get(m) for m in names], PERCENT),
        ]
        return [Table.of(columns, caption="Helps: the share of samples whose log-likelihood the modality raises.")]
