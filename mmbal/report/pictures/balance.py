"""Contribution against capability, of all classes together and of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmbal.diagnosis.sections.balance import focus
from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture, interval, legend, remark
from mmbal.text import SHARE, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.diagnosis.document import Diagnosis

ALL = "all classes"
MOST_CLASSES = 24  # rows that still read well; those with the greatest differences
COLOURS = {"too little": 0, "too much": 1}


@pictures.register()
class BalancePicture(Picture):
    """An arrow for each class, from what the evidence supports to what the model does."""

    title = "Contribution against capability"
    explained = (
        "◇ capability: the share of the decision that the evidence supports. ● contribution: the share that the modality "
        "has. The line between them is the imbalance. It is coloured where a test shows it, after Holm's correction. Thin "
        "lines are intervals of the contribution. The axis need not start at 0."
    )
    section = "balance"

    def panels(self, subject: Diagnosis) -> Sequence[str]:
        """Of two modalities one is enough: the other's shares are the rest."""
        known = [m for m in subject.data.modalities if m in subject.contribution and m in subject.capability]
        first = focus(subject)
        return [first] if len(known) == 2 and first is not None else known

    def height(self, subject: Diagnosis, panel: str) -> float:
        return 1.35 + 0.24 * len(_rows(subject, panel))

    def draw(self, ax: Axes, subject: Diagnosis, look: Look, panel: str = "") -> None:
        rows = _rows(subject, panel)
        for y, (_name, found) in enumerate(rows):
            share, best, flag = _shares(found, panel)
            colour = look.of(COLOURS[flag]) if flag else look.soft
            interval(ax, share, y, colour, 0.8)
            ax.plot([100 * best.value, 100 * share.value], [y, y], color=colour, linewidth=3, alpha=0.55)
            ax.plot(
                100 * best.value,
                y,
                "D",
                markersize=6,
                markerfacecolor=look.paper,
                markeredgecolor=look.ink,
                zorder=3,
                clip_on=False,
            )
            ax.plot(100 * share.value, y, "o", markersize=7, color=colour, zorder=4, clip_on=False)
            if flag:
                remark(ax, flag, y, colour)
        if len(rows) > 1:
            ax.axhline(0.5, color=look.line, linewidth=1)
        ax.set_yticks(range(len(rows)), [name for name, _ in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(*_span(rows, panel))
        ax.set_xlabel(_axis(subject, panel))
        ax.grid(axis="x", color=look.line, linewidth=0.6)
        handles = [
            ax.plot([], [], "D", markerfacecolor=look.paper, markeredgecolor=look.ink, label="capability")[0],
            ax.plot([], [], "o", color=look.soft, label="contribution")[0],
        ]
        legend(ax, look, handles=handles)

    def words(self, subject: Diagnosis, panel: str = "") -> str:
        told = []
        for name, found in _rows(subject, panel):
            share, best, flag = _shares(found, panel)
            said = f", {flag}" if flag else ""
            told.append(f"{name}: contribution {SHARE.text(share, False)}, capability {SHARE.text(best, False)}{said}")
        return f"Of {panel}. {'; '.join(told)}."


def _rows(d: Diagnosis, m: str) -> list[tuple[str, Any]]:
    known = [(c, found) for c, found in d.sampled().items() if m in found.contribution and m in found.capability]
    if len(known) < 2:
        return [(ALL, d)]
    if len(known) > MOST_CLASSES:
        kept = sorted(known, key=lambda row: -abs(row[1].contribution[m].value - row[1].capability[m].value))[
            :MOST_CLASSES
        ]
        known = [row for row in known if row in kept]
    return [(ALL, d), *known]


def _shares(found: Any, m: str) -> tuple[Any, Any, str | None]:
    balance = found.balance.get(m)
    return found.contribution[m], found.capability[m], None if balance is None else balance.flag


def _span(rows: list[tuple[str, Any]], m: str) -> tuple[float, float]:
    """The tens of percent around all that is drawn, at least 40 of them."""
    seen = [x for _, found in rows for e in _shares(found, m)[:2] for x in (e.value, e.low, e.high) if x is not None]
    low, high = 10 * np.floor(10 * min(seen)), 10 * np.ceil(10 * max(seen))
    more = max(0.0, 40 - (high - low)) / 2
    return max(0.0, low - more), min(100.0, high + more)


def _axis(d: Diagnosis, m: str) -> str:
    others = [n for n in d.data.modalities if n != m]
    rest = others[0] if len(others) == 1 else plural(len(others), "other modality", "other modalities")
    cut = len([c for c in d.sampled().values() if m in c.contribution]) > MOST_CLASSES
    return f"share of {m} in % (the rest: {rest})" + (f"; the {MOST_CLASSES} most imbalanced classes" if cut else "")
