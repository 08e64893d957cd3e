"""Shapley values of accuracy and log-likelihood over coalitions of modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.figures import present
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import SHARE
from mmbal.maths.shapley import shapley_values
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import NATS_DIFFERENCE, Form
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Shapley(Frozen):
    """Shapley values over modality coalitions; they sum to the value of all minus the value of none."""

    accuracy: Estimates
    log_likelihood: Estimates = Field(description="nats a sample")
    none: dict[str, float] = Field(description="value of the empty coalition: a uniform guess unless the file gives it")
    helps: Estimates = Field({}, description="share of samples whose log-likelihood the modality raises")
    sampling_error: dict[str, dict[str, float]] = Field(
        {},
        description="of estimated values: standard error from the coalitions that were drawn; the intervals contain it",
    )


@sections.register()
class ShapleySection(Section):
    """What each modality adds, averaged over all orders in which modalities join."""

    order = 50
    title = "Shapley values"
    full = True
    fields = {"shapley": (Shapley | None, None)}
    class_fields = {"shapley": (Estimates, Field({}, description="of accuracy"))}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        known = _estimated(e) if e.predictions.shapley else _exact(e)
        if known is None:
            return {}
        gains, nats, none, sampling_error = known
        figures = e.figures
        for m, values in gains.items():
            e.file("shapley", figures.by_class(f"classes.{{}}.shapley.{m}", values), m)
        found = Shapley(
            accuracy=present({m: figures.mean(f"shapley.accuracy.{m}", v) for m, v in gains.items()}),
            log_likelihood=present({m: figures.mean(f"shapley.log_likelihood.{m}", v) for m, v in nats.items()}),
            none=none,
            helps={}
            if sampling_error
            else present({m: figures.mean(f"shapley.helps.{m}", v > 0, bounds=SHARE) for m, v in nats.items()}),
            sampling_error=sampling_error,
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
        ]
        if s.sampling_error:
            error = Form(2, 100.0, " pp")
            columns.append(Column("sampling error", [s.sampling_error["accuracy"][m] for m in names], error))
            caption = "Estimated from some coalitions. Sampling error: what this adds to the accuracy's standard error."
            return [Table.of(columns, caption=caption)]
        columns.append(Column("helps", [s.helps.get(m) for m in names], PERCENT))
        return [Table.of(columns, caption="Helps: the share of samples whose log-likelihood the modality raises.")]


Values = tuple[dict[str, Array], dict[str, Array], dict[str, float], dict[str, dict[str, float]]]


def _exact(e: Examination) -> Values | None:
    """Values of each sample, of being right and of the log-likelihood; means of no modality; no sampling error."""
    if e.values is None:
        e.lacks("shapley", *e.without_values())
        return None
    right, likely = e.values
    none = {"accuracy": float(right[()].mean()), "log_likelihood": float(likely[()].mean())}
    return shapley_values(right, e.names), shapley_values(likely, e.names), none, {}


def _estimated(e: Examination) -> Values | None:
    """The same of values that were estimated from the coalitions that were drawn, independently for each sample."""
    table = {m: e.predictions.shapley[m] for m in e.names}
    known = e.value(())
    right, likely = (np.zeros(1), np.zeros(1)) if known is None else known
    none = {"accuracy": float(right.mean()), "log_likelihood": float(likely.mean())}
    n = len(e.predictions)
    error = {
        what: {m: float(np.sqrt((v[:, k] ** 2).sum()) / n) for m, v in table.items()}
        for what, k in (("accuracy", 2), ("log_likelihood", 3))
    }
    e.lacks("shapley.helps", "the values of single samples are estimates", "subset_<a>+<b> for every coalition")
    return {m: v[:, 0] for m, v in table.items()}, {m: v[:, 1] for m, v in table.items()}, none, error
