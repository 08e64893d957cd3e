"""Accuracies of the rows of a comparison, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture, around, interval, short
from mmbal.text import SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.compare import Comparison


@pictures.register()
class AccuraciesPicture(Picture):
    """One row a model; the axis spans what is there, so that close ones can be told apart."""

    of = "comparison"
    title = "Accuracy"
    explained = (
        "Accuracy with its interval over samples, or the spread over seeds. The axis need not start at 0. A row is coloured "
        "where the paired test against the first row shows a difference, after Holm's correction."
    )

    def panels(self, subject: Comparison) -> Sequence[str]:
        return [""] if _known(subject) else []

    def height(self, subject: Comparison, panel: str) -> float:
        return 0.9 + 0.3 * len(_known(subject))

    def draw(self, ax: Axes, subject: Comparison, look: Look, panel: str = "") -> None:
        rows = _known(subject)
        ax.axvline(100 * rows[0].figures["accuracy"].value, color=look.soft, linewidth=1, linestyle=(0, (2, 2)))
        for y, row in enumerate(rows):
            figure = row.figures["accuracy"]
            better = row.test is not None and row.test.accuracy.value > 0
            colour = look.ink if row.test is None else look.of(2 if better else 1) if row.test.shown else look.soft
            interval(ax, around(figure), y, colour)
            ax.plot(100 * figure.value, y, "o", color=colour, markersize=6.5)
        ax.set_yticks(range(len(rows)), [short(row.label) for row in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel("accuracy in %")
        ax.grid(axis="x", color=look.line, linewidth=0.6)

    def words(self, subject: Comparison, panel: str = "") -> str:
        return "; ".join(f"{row.label} {SHARE.text(row.figures['accuracy'])}" for row in _known(subject)) + "."


def _known(comparison: Comparison) -> list[Any]:
    return [row for row in comparison.rows if row.figures["accuracy"] is not None]
