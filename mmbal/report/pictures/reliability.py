"""Reliability curves of every modality alone and of the fused decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import DASHES, Look, Picture
from mmbal.text import NATS, PLAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.diagnosis.document import Diagnosis

FUSED = "fused"


@pictures.register()
class ReliabilityPicture(Picture):
    """How often decisions are right at each confidence, with bands, on one panel."""

    title = "Reliability"
    explained = (
        "How often a decision is right, by its confidence. On the diagonal both are equal; below it the decision is "
        "over-confident, above it under-confident. The curves have no bins: a kernel weighs the samples by their rank. "
        "Bands are pointwise intervals."
    )
    section = "calibration"

    def panels(self, subject: Diagnosis) -> Sequence[str]:
        return [""] if _curves(subject) else []

    def height(self, subject: Diagnosis, panel: str) -> float:
        return 4.3

    def draw(self, ax: Axes, subject: Diagnosis, look: Look, panel: str = "") -> None:
        lowest = 1.0
        ax.plot([0, 100], [0, 100], color=look.soft, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        for k, (name, curve) in enumerate(_curves(subject)):
            colour = look.ink if name == FUSED else look.of(k)
            at, accuracy, low, high = (
                [100 * x for x in found] for found in (curve.confidence, curve.accuracy, curve.low, curve.high)
            )
            if low:
                ax.fill_between(at, low, high, color=colour, alpha=0.13, linewidth=0)
            style: Any = "-" if name == FUSED else DASHES[k % len(DASHES)]
            width = 2.2 if name == FUSED else 1.6
            ax.plot(at, accuracy, color=colour, linestyle=style, linewidth=width, label=name)
            lowest = min(lowest, curve.confidence[0], *curve.accuracy)
        least = max(0.0, 100 * lowest - 5)
        ax.set_xlim(least, 100)
        ax.set_ylim(least, 100.5)
        ax.set_aspect("equal", adjustable="box")
        ax.set_xlabel("confidence in %")
        ax.set_ylabel("accuracy in %")
        ax.grid(color=look.line, linewidth=0.6)
        ax.legend(loc="upper left", labelcolor=look.ink)

    def words(self, subject: Diagnosis, panel: str = "") -> str:
        told = []
        for name, found in subject.calibration.items():
            said = f"{name}: ECE {PLAIN.text(found.ece)}"
            if found.over_confidence is not None:
                over, under = NATS.text(found.over_confidence, False), NATS.text(found.under_confidence, False)
                said += f", over-confidence {over} nats, under-confidence {under} nats"
            told.append(said)
        return "; ".join(told) + "."


def _curves(d: Diagnosis) -> list[tuple[str, Any]]:
    """Modalities in order, then the fused decision, which is drawn on top."""
    known = [(m, d.calibration[m].curve) for m in (*d.data.modalities, FUSED) if m in d.calibration]
    return [(name, curve) for name, curve in known if curve is not None and len(curve.confidence) > 1]
