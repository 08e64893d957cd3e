"""The critical-difference picture of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.study import Study


MANY = 20  # variants from which rows are narrower, and ticks fewer


@pictures.register()
class RanksPicture(Picture):
    """Each variant at its mean rank; a bar joins variants that are not told apart."""

    of = "study"
    title = "Mean ranks"
    explained = (
        "Mean rank of accuracy over the data sets; 1 is best. A thick bar joins variants of which no two are told apart, "
        "after Holm's correction over all pairs."
    )

    def height(self, subject: Study, panel: str) -> float:
        row = 0.26 if len(subject.rows) <= MANY else 0.15
        return 0.9 + row * (len(subject.rows) + len(subject.groups))

    def draw(self, ax: Axes, subject: Study, look: Look, panel: str = "") -> None:
        n, place = len(subject.rows), {row.variant: row.rank for row in subject.rows}
        for y, row in enumerate(subject.rows):
            ax.plot([1, row.rank], [y, y], color=look.line, linewidth=1)
            ax.plot(row.rank, y, "o", color=look.of(0), markersize=7 if n <= MANY else 4)
        for k, group in enumerate(subject.groups):
            ends = [place[variant] for variant in group]
            ax.plot([min(ends), max(ends)], [n + k - 0.2] * 2, color=look.ink, linewidth=4, solid_capstyle="round")
        ax.set_yticks(range(n), [f"{row.variant}  {row.rank:.2f}" for row in subject.rows])
        ax.set_ylim(n + len(subject.groups) - 0.5, -0.6)
        ax.set_xlim(0.9 - n / 100, n + 0.1 + n / 100)
        ax.set_xticks(range(1, n + 1) if n <= MANY else [1, *range(10, n + 1, 10)])
        ax.set_xlabel("mean rank")
        ax.grid(axis="x", color=look.line, linewidth=0.6)

    def words(self, subject: Study, panel: str = "") -> str:
        ranks = ", ".join(f"{row.variant} {row.rank:.2f}" for row in subject.rows)
        groups = "; ".join(", ".join(group) for group in subject.groups)
        return f"{ranks}. Not told apart: {groups or 'none'}."
