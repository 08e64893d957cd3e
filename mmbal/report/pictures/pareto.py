"""Accuracy against imbalance: which models no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture
from mmbal.text import PLAIN, SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.compare import Comparison


@pictures.register()
class ParetoPicture(Picture):
    """One mark a model; filled where no other is both more accurate and better balanced."""

    of = "comparison"
    title = "Accuracy and balance"
    explained = (
        "Up is more accurate, left is better balanced. Filled: no other model is better in both (the Pareto front). "
        "Lines are intervals; where they overlap, the order may be chance."
    )

    def panels(self, subject: Comparison) -> Sequence[str]:
        return [""] if len(_known(subject)) > 1 else []

    def height(self, subject: Comparison, panel: str) -> float:
        return 3.6

    def draw(self, ax: Axes, subject: Comparison, look: Look, panel: str = "") -> None:
        rows = _known(subject)
        front = _front(rows)
        for k, row in enumerate(rows):
            x, y = row.figures["index"], row.figures["accuracy"]
            colour = look.of(0) if row in front else look.soft
            height = 100 * y.value
            if x.low is not None:
                ax.plot([x.low, x.high], [height] * 2, color=colour, linewidth=0.8)
            if y.low is not None:
                ax.plot([x.value] * 2, [100 * y.low, 100 * y.high], color=colour, linewidth=0.8)
            inside = colour if row in front else look.paper
            ax.plot(x.value, height, "o", color=colour, markersize=8, markerfacecolor=inside)
            number: Any = {"xytext": (6, 5), "textcoords": "offset points", "fontweight": "bold"}
            ax.annotate(str(k + 1), (x.value, height), color=look.ink, **number)
        path = sorted(front, key=lambda row: row.figures["index"].value)
        if len(path) > 1:
            across, up = ([row.figures[name].value for row in path] for name in ("index", "accuracy"))
            ax.step(across, [100 * a for a in up], where="post", color=look.of(0), linewidth=1, alpha=0.6)
        ax.set_xlabel("imbalance index")
        ax.set_ylabel("accuracy in %")
        ax.grid(color=look.line, linewidth=0.6)
        key = "\n".join(f"{k + 1}  {row.label}" for k, row in enumerate(rows))
        ax.text(0, 1.02, key, transform=ax.transAxes, va="bottom", color=look.ink, linespacing=1.4)

    def words(self, subject: Comparison, panel: str = "") -> str:
        rows = _known(subject)
        front = _front(rows)
        told = []
        for row in rows:
            accuracy, index = SHARE.text(row.figures["accuracy"], False), PLAIN.text(row.figures["index"], False)
            told.append(f"{row.label}: accuracy {accuracy}, imbalance index {index}")
        return f"{'; '.join(told)}. On the front: {', '.join(row.label for row in front)}."


def _known(comparison: Comparison) -> list[Any]:
    return [row for row in comparison.rows if None not in (row.figures["accuracy"], row.figures["index"])]


def _front(rows: list[Any]) -> list[Any]:
    """The rows that no other beats in one and equals in the other."""
    places = [(row.figures["accuracy"].value, -row.figures["index"].value) for row in rows]
    beaten = [any(a >= own[0] and b >= own[1] and (a, b) != own for a, b in places) for own in places]
    return [row for row, worse in zip(rows, beaten, strict=True) if not worse]
