"""What has changed since an earlier diagnosis; the figures need no labels, so this works on data from production.

The samples of the two are taken to be independent. The standard error of the change is the root of the sum of squares of
the two standard errors; that of the baseline follows from its interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.paths import figures_of
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section, all_sections
from mmbal.diagnosis.words import listed
from mmbal.errors import DataError
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.distributions import normal_cdf, normal_quantile
from mmbal.maths.significance import holm
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, SHARE, WHOLE

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Moved(Frozen):
    """A figure that differs from the baseline after Holm's correction over all figures, and its two values."""

    figure: str
    baseline: float
    now: float
    change: Estimate
    p: float = Field(description="of 'nothing has changed', after Holm's correction")


@sections.register()
class ChangeSection(Section):
    """What has changed since the baseline, with ``--baseline``."""

    order = 150
    title = "Changes since the baseline"
    on_request = True
    needs_labels = False
    fields = {
        "change": (Estimates, Field({}, description="path of a figure -> now less the baseline")),
        "moved": (list[Moved], Field([], description="the figures whose change is shown, the surest first")),
    }

    def measure(self, e: Examination) -> Mapping[str, Any]:
        if e.earlier is None:
            return {}
        _require_comparable(e, e.earlier)
        z = float(normal_quantile((1 + e.figures.boot.confidence) / 2))
        before = figures_of(e.earlier)
        change: dict[str, Estimate] = {}
        p: dict[str, float] = {}
        for path in _watched(e.earlier):
            now = e.figures.replicates.get(path)
            if now is None or path not in before:
                e.lacks(
                    f"change.{path}", f"the {'baseline' if now is not None else 'predictions'} do not have the figure"
                )
                continue
            value, low, high = before[path]
            difference, mean = float(now[0]) - value, e.figures.means.get(path)
            if mean is None or low is None or high is None:
                change[path] = Estimate(value=difference)
                continue
            error = float(np.hypot(mean.error, (high - low) / (2 * z)))
            change[path] = Estimate(value=difference, low=difference - z * error, high=difference + z * error)
            p[path] = 2 * float(normal_cdf(-abs(difference) / error)) if error else float(difference == 0)
        adjusted = dict(zip(p, holm(list(p.values())).tolist(), strict=True)) if p else {}
        moved = [
            Moved(
                figure=path,
                baseline=before[path][0],
                now=float(e.figures.replicates[path][0]),
                change=change[path],
                p=q,
            )
            for path, q in sorted(adjusted.items(), key=lambda item: item[1])
            if q < 1 - e.figures.boot.confidence
        ]
        return {"change": change, "moved": moved}

    def tables(self, d: Diagnosis) -> list[Table]:
        if not d.change:
            return []
        label, now, moved = _watched(d), figures_of(d), {one.figure for one in d.moved}
        columns = [
            Column("", [label[path] for path in d.change]),
            Column("baseline", [now[path][0] - change.value for path, change in d.change.items()], SHARE),
            Column("now", [now[path][0] for path in d.change], SHARE),
            Column("change (pp)", list(d.change.values()), DIFFERENCE.bare()),
            Column(" ", ["◀ moved" if path in moved else "" for path in d.change], left=True),
        ]
        return [Table.of(columns, caption="Moved: the change is shown, after Holm's correction over all rows.")]

    def sentences(self, d: Diagnosis) -> list[str]:
        if not d.change:
            return []
        if not d.moved:
            return ["No change since the baseline is shown."]
        label = _watched(d)
        told = [
            f"'{label[one.figure]}' from {WHOLE.text(one.baseline)} to {WHOLE.text(one.now)} ({DIFFERENCE.text(one.change)})"
            for one in d.moved
        ]
        return [f"Since the baseline these have moved: {listed(told)}."]


def _watched(d: Diagnosis) -> dict[str, str]:
    """The figures that need no labels: path -> label."""
    return {path: label for section in all_sections() for path, label in section.monitored(d).items()}


def _require_comparable(e: Examination, baseline: Diagnosis) -> None:
    """Raise DataError where the baseline is of other modalities, or its intervals of another level."""
    theirs, ours = baseline.data.modalities, list(e.names)
    if sorted(theirs) != sorted(ours):
        raise DataError(
            f"The baseline has the modalities {', '.join(theirs)}; the predictions have {', '.join(ours)}.",
            "Give the diagnosis of the same model.",
        )
    if baseline.settings.confidence != e.figures.boot.confidence:
        raise DataError(
            f"The intervals of the baseline are of the level {baseline.settings.confidence:g}, not "
            f"{e.figures.boot.confidence:g}.",
            f"Add --confidence {baseline.settings.confidence:g}.",
        )
