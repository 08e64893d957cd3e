"""Where accuracy is lost: from the decision as it is to what is within reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.maths.bootstrap import Estimate
from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture, interval, remark
from mmbal.text import DIFFERENCE, SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.diagnosis.document import Diagnosis


@pictures.register()
class LossesPicture(Picture):
    """A waterfall: accuracy as it is, the gaps, and what would be reached without them."""

    title = "Where accuracy is lost"
    explained = (
        "Each bar is what would be gained: by a fitted decision rule (decision gap), by better encoders (representation "
        "gap). A bar to the left is a loss. Thin lines are intervals. The axis need not start at 0."
    )
    section = "total"

    def panels(self, subject: Diagnosis) -> Sequence[str]:
        return [""] if _gaps(subject) else []

    def height(self, subject: Diagnosis, panel: str) -> float:
        return 0.75 + 0.34 * (len(_gaps(subject)) + 2)

    def draw(self, ax: Axes, subject: Diagnosis, look: Look, panel: str = "") -> None:
        gaps, start = _gaps(subject), subject.accuracy.fused
        names = ["fused, as it is", *(name for name, _ in gaps), "within reach"]
        interval(ax, start, 0, look.ink)
        ax.plot(100 * start.value, 0, "o", color=look.ink, markersize=7)
        level, seen = start.value, [start.low, start.value, start.high]
        for y, (_, gap) in enumerate(gaps, start=1):
            reached = Estimate(value=level + gap.value, low=_plus(level, gap.low), high=_plus(level, gap.high))
            ax.barh(y, 100 * gap.value, left=100 * level, height=0.62, color=look.of(y - 1), alpha=0.85)
            ax.plot([100 * level] * 2, [y - 1, y + 0.31], color=look.line, linewidth=1)
            interval(ax, reached, y, look.ink)
            remark(ax, DIFFERENCE.text(gap, False), y, look.ink)
            level = reached.value
            seen += [reached.low, level, reached.high]
        y = len(names) - 1
        ax.plot([100 * level] * 2, [y - 1, y], color=look.line, linewidth=1)
        ax.plot(100 * level, y, "o", color=look.ink, markersize=7, markerfacecolor=look.paper)
        ends = [100 * x for x in seen if x is not None]
        margin = 0.05 * (max(ends) - min(ends)) + 0.2
        ax.set_xlim(min(ends) - margin, max(ends) + margin)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_xlabel("accuracy in %")
        ax.grid(axis="x", color=look.line, linewidth=0.6)

    def words(self, subject: Diagnosis, panel: str = "") -> str:
        gaps = [f"{name} {DIFFERENCE.text(gap)}" for name, gap in _gaps(subject)]
        return "; ".join([f"fused, as it is {SHARE.text(subject.accuracy.fused)}", *gaps]) + "."


def _plus(level: float, end: float | None) -> float | None:
    return None if end is None else level + end


def _gaps(d: Diagnosis) -> list[tuple[str, Any]]:
    found = (("decision gap", d.decision_gap), ("representation gap", d.representation_gap))
    return [(name, gap.accuracy) for name, gap in found if gap is not None]
