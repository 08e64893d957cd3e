"""What accuracy costs in a sweep: in time, and at the weakest modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.study import Standing, Study

WEAK, SECONDS = "weakest modality", "seconds"


@pictures.register()
class PricePicture(Picture):
    """Accuracy against the weakest modality's own accuracy, and against seconds; a line joins the Pareto front."""

    of = "study"
    title = "What accuracy costs"
    explained = "Filled and joined: no other variant is better in both (the Pareto front)."

    def panels(self, subject: Study) -> Sequence[str]:
        return [panel for panel in (WEAK, SECONDS) if _places(subject, panel)]

    def height(self, subject: Study, panel: str) -> float:
        return 3.4

    def draw(self, ax: Axes, subject: Study, look: Look, panel: str = "") -> None:
        known = _places(subject, panel)
        best = sorted((x, y) for x, y, _, front in known if front)
        ax.plot([x for x, _ in best], [y for _, y in best], color=look.of(0), linewidth=1, alpha=0.6)
        for x, y, row, front in known:
            colour = look.of(0) if front else look.soft
            ax.plot(x, y, "o", color=colour, markersize=7, markerfacecolor=colour if front else look.paper)
            ax.annotate(row.variant, (x, y), xytext=(5, 4), textcoords="offset points", color=look.ink)
        ax.margins(0.15)
        ax.set_xlabel("seconds of training, one run" if panel == SECONDS else "weakest modality alone, accuracy in %")
        ax.set_ylabel("accuracy in %")
        ax.grid(color=look.line, linewidth=0.6)

    def words(self, subject: Study, panel: str = "") -> str:
        found = _places(subject, panel)
        told = [f"{row.variant}: accuracy {y:.1f} %, {panel} {x:.1f}" for x, y, row, _ in found]
        return f"{'; '.join(told)}. On the front: {', '.join(row.variant for *_, row, front in found if front)}."


def _places(study: Study, panel: str) -> list[tuple[float, float, Standing, bool]]:
    """Where each variant stands on a panel, and whether it is on the front."""
    if panel == SECONDS:
        return [(row.seconds, 100 * row.accuracy, row, row.best_for_seconds) for row in study.rows]
    known = [(row.weak_accuracy, row) for row in study.rows]
    return [(100 * weak, 100 * row.accuracy, row, row.best_for_weak) for weak, row in known if weak is not None]
