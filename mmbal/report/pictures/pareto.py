"""Accuracy against imbalance: which models no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture, around, short
from mmbal.text import PLAIN, SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.compare import Comparison

KEY = 60  # characters of a line of names


@pictures.register()
class ParetoPicture(Picture):
    """One mark a model; filled where no other is both more accurate and better balanced."""

    of = "comparison"
    title = "Accuracy and balance"
    explained = (
        "Up is more accurate, left is better balanced. Filled: no other model is better in both (the Pareto front). "
        "Lines are intervals, or the spread over seeds; where they overlap, the order may be chance."
    )

    def panels(self, subject: Comparison) -> Sequence[str]:
        return [""] if len(_known(subject)) > 1 else []

    def height(self, subject: Comparison, panel: str) -> float:
        return 3.2 + 0.18 * len(_key(_known(subject)))

    def draw(self, ax: Axes, subject: Comparison, look: Look, panel: str = "") -> None:
        rows = _known(subject)
        front = _front(rows)
        for k, row in enumerate(rows):
            x, y = row.figures["index"], row.figures["accuracy"]
            across, up = around(x), around(y)
            colour = look.of(0) if row in front else look.soft
            height = 100 * y.value
            if across.low is not None and across.high is not None:
                ax.plot([max(0, across.low), across.high], [height] * 2, color=colour, linewidth=0.8)
            if up.low is not None and up.high is not None:
                ax.plot([x.value] * 2, [100 * up.low, min(100, 100 * up.high)], color=colour, linewidth=0.8)
            inside = colour if row in front else look.paper
            ax.plot(x.value, height, "o", color=colour, markersize=8, markerfacecolor=inside)
            number: Any = {"xytext": (6, 5), "textcoords": "offset points", "fontweight": "bold"}
            ax.annotate(str(k + 1), (x.value, height), color=look.ink, **number)
        path = sorted(front, key=lambda row: row.figures["index"].value)
        if len(path) > 1:
            index, accuracy = ([row.figures[name].value for row in path] for name in ("index", "accuracy"))
            ax.step(index, [100 * a for a in accuracy], where="post", color=look.of(0), linewidth=1, alpha=0.6)
        ax.set_xlabel("imbalance index")
        ax.set_ylabel("accuracy in %")
        ax.margins(0.1)
        ax.locator_params(axis="x", nbins=6)
        ax.grid(color=look.line, linewidth=0.6)
        key = "\n".join(_key(rows))
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


def _key(rows: list[Any]) -> list[str]:
    """The numbers of the rows with their names, on as few lines as they take."""
    lines = [""]
    for k, row in enumerate(rows):
        told = f"{k + 1} {short(row.label, KEY - 4)}"
        if lines[-1] and len(lines[-1]) + len(told) + 3 > KEY:
            lines.append("")
        lines[-1] += f" · {told}" if lines[-1] else told
    return lines


def _front(rows: list[Any]) -> list[Any]:
    """The rows that no other beats in one and equals in the other."""
    places = [(row.figures["accuracy"].value, -row.figures["index"].value) for row in rows]
    beaten = [any(a >= own[0] and b >= own[1] and (a, b) != own for a, b in places) for own in places]
    return [row for row, worse in zip(rows, beaten, strict=True) if not worse]
