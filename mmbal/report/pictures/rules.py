"""What each candidate rule gains over the decision as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import Look, Picture, interval
from mmbal.text import DIFFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.rules import Rules


@pictures.register()
class RulesPicture(Picture):
    """One row a rule, with its gain in accuracy."""

    of = "rules"
    title = "Candidate rules"
    explained = (
        "Gain in accuracy over the decision as it is, with its interval. Coloured where the interval leaves out 0."
    )

    def panels(self, subject: Rules) -> Sequence[str]:
        return [""] if _gains(subject) else []

    def height(self, subject: Rules, panel: str) -> float:
        return 0.8 + 0.24 * len(_gains(subject))

    def draw(self, ax: Axes, subject: Rules, look: Look, panel: str = "") -> None:
        rows = _gains(subject)
        ax.axvline(0, color=look.soft, linewidth=1)
        for y, (name, gain) in enumerate(rows):
            colour = {1: look.of(2), -1: look.of(1), 0: look.soft}[gain.sign]
            interval(ax, gain, y, colour)
            ax.plot(100 * gain.value, y, "D" if name == subject.chosen else "o", color=colour, markersize=6)
        ax.set_yticks(range(len(rows)), [name for name, _ in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel("gain in accuracy in pp")
        ax.grid(axis="x", color=look.line, linewidth=0.6)

    def words(self, subject: Rules, panel: str = "") -> str:
        return "; ".join(f"{name} {DIFFERENCE.text(gain)}" for name, gain in _gains(subject)) + "."


def _gains(found: Rules) -> list[tuple[str, Any]]:
    """All but the decision as it is, the best first."""
    rows = [(row["rule"], row["accuracy_gain"]) for row in found.rows[1:]]
    return sorted(rows, key=lambda row: -row[1].value)
