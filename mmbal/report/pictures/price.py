"""What accuracy costs in a sweep: in time, and at the weakest modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.study import Standing, Study

WEAK, SECONDS = "weakest modality", "seconds"
FRAME = 0.7  # inches beside and below the axes, about
Box = tuple[float, float, float, float]  # left, bottom, right, top


@pictures.register()
class PricePicture(Picture):
    """Accuracy against the weakest modality's own accuracy, and against seconds; a line joins the Pareto front."""

    of = "study"
    title = "What accuracy costs"
    explained = (
        "Filled and joined: no other variant is better in both (the Pareto front). Where names have no room, those first "
        "in rank are written."
    )

    def panels(self, subject: Study) -> Sequence[str]:
        return [panel for panel in (WEAK, SECONDS) if _places(subject, panel)]

    def height(self, subject: Study, panel: str) -> float:
        return 3.4

    def draw(self, ax: Axes, subject: Study, look: Look, panel: str = "") -> None:
        known = _places(subject, panel)
        best = sorted((x, y) for x, y, _, front in known if front)
        ax.plot([x for x, _ in best], [y for _, y in best], color=look.of(0), linewidth=1, alpha=0.6)
        for x, y, _, front in known:
            colour = look.of(0) if front else look.soft
            ax.plot(x, y, "o", color=colour, markersize=7, markerfacecolor=colour if front else look.paper)
        ax.margins(0.15)
        _name(ax, [(x, y, row.variant) for x, y, row, _ in known], look.ink)
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


def _name(ax: Axes, marks: Sequence[tuple[float, float, str]], colour: str) -> None:
    """Write a name beside each mark, the first ones first, where it covers no mark and no other name."""
    from matplotlib import rcParams

    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert ax.figure is not None
    width, height = (72 * (pixels / ax.figure.dpi - FRAME) for pixels in ax.figure.bbox.size)  # in points, as all below
    places = [((x - left) / (right - left) * width, (y - low) / (high - low) * height) for x, y, _ in marks]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in places]
    for (x, y), (across, up, name) in zip(places, marks, strict=True):
        wide, tall = 0.65 * rcParams["font.size"] * len(name), 1.1 * rcParams["font.size"]
        for right_of, above in ((5, 5), (5, -5 - tall), (-5 - wide, 5), (-5 - wide, -5 - tall)):
            box = (x + right_of, y + above, x + right_of + wide, y + above + tall)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
            if inside and not any(_overlap(box, other) for other in taken):
                place: Any = {"xytext": (right_of, above), "textcoords": "offset points", "va": "bottom"}
                ax.annotate(name, (across, up), color=colour, **place)
                taken.append(box)
                break


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
