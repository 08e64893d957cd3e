"""Accuracy by which modality a sample prefers, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import DASHES, MARKERS, Look, Picture, legend
from mmbal.text import SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.sections.discrepancy import DiscrepancyBin

FUSED = "fused"


@pictures.register()
class DiscrepancyPicture(Picture):
    """The fused accuracy and that of each modality alone, over the discrepancy."""

    title = "Accuracy by discrepancy"
    explained = (
        "Samples are grouped by the modality that is more confident of the truth, and by how much. Where one modality alone "
        "stands above fused, the other takes the decision away from it. Vertical lines are intervals."
    )
    section = "discrepancy"

    def panels(self, subject: Diagnosis) -> Sequence[str]:
        """Of two modalities both sides stand on one axis."""
        if subject.discrepancy is None:
            return []
        return [""] if len(subject.data.modalities) == 2 else list(subject.discrepancy.bins)

    def draw(self, ax: Axes, subject: Diagnosis, look: Look, panel: str = "") -> None:
        places = _places(subject, panel)
        names = [*subject.data.modalities, FUSED]
        for k, name in enumerate(names):
            colour = look.ink if name == FUSED else look.of(k)
            found = [(x, b.fused if name == FUSED else b.alone.get(name)) for x, b in places]
            shown = [(x + 0.012 * (k - len(names) / 2), e) for x, e in found if e is not None]
            label = name if name == FUSED else f"{name} alone"
            style: Any = "-" if name == FUSED else DASHES[k % len(DASHES)]
            xs, ys = [x for x, _ in shown], [100 * e.value for _, e in shown]
            ax.plot(xs, ys, color=colour, marker=MARKERS[k % len(MARKERS)], linestyle=style, label=label)
            for x, e in shown:
                if e.low is not None and e.high is not None:
                    ax.plot([x, x], [100 * e.low, 100 * e.high], color=colour, linewidth=0.9)
        ax.set_ylim(-2, 102)
        ax.set_ylabel("accuracy in %")
        if panel:
            ax.set_xlim(0, 1)
            ax.set_xlabel(f"discrepancy, where {panel} is preferred")
        else:
            first, second = subject.data.modalities
            ax.axvline(0, color=look.soft, linewidth=1)
            ax.set_xlim(-1, 1)
            ax.set_xticks([-1, -0.5, 0, 0.5, 1], ["1", "0.5", "0", "0.5", "1"])
            ax.set_xlabel(f"← {first} is preferred\u2003 discrepancy \u2003{second} is preferred →")
        ax.grid(color=look.line, linewidth=0.6)
        legend(ax, look)

    def words(self, subject: Diagnosis, panel: str = "") -> str:
        told = []
        for m, found in subject.discrepancy.preferred.items():
            if panel in ("", m):
                alone = found.alone.get(m)
                told.append(f"where {m} is preferred: fused {SHARE.text(found.fused)}, {m} alone {SHARE.text(alone)}")
        return "; ".join(told) + "."


def _places(d: Diagnosis, panel: str) -> list[tuple[float, DiscrepancyBin]]:
    """Where each group of samples stands on the axis; samples that prefer the first of two modalities stand left of 0."""
    first = d.data.modalities[0]
    found = []
    for m, parts in d.discrepancy.bins.items():
        if panel in ("", m):
            sign = -1 if not panel and m == first else 1
            found += [(sign * (part.low + part.high) / 2, part) for part in parts.values()]
    return sorted(found, key=lambda place: place[0])
