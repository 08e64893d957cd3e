"""Accuracy by class: fused, and of each modality alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import MARKERS, Look, Picture, interval, legend
from mmbal.text import SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.diagnosis.document import Diagnosis

MOST_CLASSES = 24  # rows that still read well; those where fused is right least often


@pictures.register()
class ClassesPicture(Picture):
    """One row a class, with a mark for each modality alone and one for the fused decision."""

    title = "Accuracy by class"
    explained = (
        "Where a modality alone stands to the right of fused, the class loses by the fusion. Thin lines are intervals of "
        "the fused accuracy. Of many classes, those where fused is right least often."
    )
    section = "balance"

    def panels(self, subject: Diagnosis) -> Sequence[str]:
        return [""] if len(_rows(subject)) > 1 else []

    def height(self, subject: Diagnosis, panel: str) -> float:
        return 1.35 + 0.24 * (1 + len(_rows(subject)))

    def draw(self, ax: Axes, subject: Diagnosis, look: Look, panel: str = "") -> None:
        rows = _rows(subject)
        for k, m in enumerate(subject.data.modalities):
            found = [(y, c.alone[m].value) for y, (_, c) in enumerate(rows) if m in c.alone]
            marks: Any = {"markersize": 5.5, "markerfacecolor": "none", "markeredgewidth": 1.5, "label": f"{m} alone"}
            marker = MARKERS[(k + 1) % len(MARKERS)]
            ax.plot([100 * x for _, x in found], [y for y, _ in found], marker, color=look.of(k), **marks)
        for y, (_, c) in enumerate(rows):
            interval(ax, c.fused, y, look.ink, 0.9)
        shown = [100 * c.fused.value for _, c in rows]
        ax.plot(shown, range(len(rows)), "o", color=look.ink, markersize=6.5, label="fused", zorder=4)
        ax.set_yticks(range(len(rows)), [name for name, _ in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(-2, 102)
        ax.set_xlabel("accuracy in %")
        ax.grid(axis="x", color=look.line, linewidth=0.6)
        legend(ax, look)

    def words(self, subject: Diagnosis, panel: str = "") -> str:
        told = []
        for name, c in _rows(subject):
            alone = [f"{m} alone {SHARE.text(found, False)}" for m, found in c.alone.items()]
            told.append(f"{name}: {', '.join([f'fused {SHARE.text(c.fused, False)}', *alone])}")
        return "; ".join(told) + "."


def _rows(d: Diagnosis) -> list[tuple[str, Any]]:
    known = [(name, c) for name, c in d.sampled().items() if c.fused is not None]
    if len(known) <= MOST_CLASSES:
        return known
    worst = sorted(known, key=lambda row: row[1].fused.value)[:MOST_CLASSES]
    return [row for row in known if row in worst]
