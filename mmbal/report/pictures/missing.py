"""Accuracy when a modality is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmbal.registry import pictures
from mmbal.report.picture import MARKERS, Look, Picture, interval, legend
from mmbal.text import SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.diagnosis.document import Diagnosis

WAYS = ("removed", "zeroed", "mean", "shuffled")


@pictures.register()
class MissingPicture(Picture):
    """One row a modality, with a mark for each way to take it away."""

    title = "Accuracy without a modality"
    explained = "The vertical line is the accuracy with all modalities. Thin lines are intervals."
    section = "missing"

    def panels(self, subject: Diagnosis) -> Sequence[str]:
        return [""] if subject.missing else []

    def height(self, subject: Diagnosis, panel: str) -> float:
        return 1.3 + 0.6 * len(subject.missing)

    def draw(self, ax: Axes, subject: Diagnosis, look: Look, panel: str = "") -> None:
        ax.axvline(100 * subject.accuracy.fused.value, color=look.soft, linewidth=1.2)
        told = set()
        for y, found in enumerate(subject.missing.values()):
            for k, way in enumerate(WAYS):
                figure = getattr(found, way)
                if figure is None:
                    continue
                at = y + 0.18 * (k - 1.5)
                interval(ax, figure, at, look.of(k), 1)
                label = None if way in told else way
                ax.plot(100 * figure.value, at, MARKERS[k], color=look.of(k), label=label)
                told.add(way)
        ax.set_yticks(range(len(subject.missing)), list(subject.missing))
        ax.set_ylim(len(subject.missing) - 0.5, -0.5)
        ax.set_xlabel("accuracy in % without the modality")
        ax.grid(axis="x", color=look.line, linewidth=0.6)
        legend(ax, look, 2)

    def words(self, subject: Diagnosis, panel: str = "") -> str:
        told = [
            f"without {m}, {way}: {SHARE.text(figure)}"
            for m, found in subject.missing.items()
            for way in WAYS
            if (figure := getattr(found, way)) is not None
        ]
        return f"With all modalities: {SHARE.text(subject.accuracy.fused)}; " + "; ".join(told) + "."
