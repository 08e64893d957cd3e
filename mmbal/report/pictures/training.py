"""Accuracy by epoch, of each modality alone and of the fused decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmbal.registry import pictures
from mmbal.report.picture import DASHES, MARKERS, Look, Picture, legend
from mmbal.text import SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmbal.report.making import History


@pictures.register()
class TrainingPicture(Picture):
    """One curve a modality."""

    of = "run"
    title = "Accuracy by epoch"
    explained = "On the validation split. The vertical line marks the best epoch, of which all other figures are."

    def draw(self, ax: Axes, subject: History, look: Look, panel: str = "") -> None:
        *_, fused = subject.accuracy
        if subject.best is not None:
            ax.axvline(subject.best, color=look.soft, linewidth=1, linestyle=(0, (2, 2)))
        few = len(subject.epochs) <= 30
        for k, (name, found) in enumerate(subject.accuracy.items()):
            colour = look.ink if name == fused else look.of(k)
            shown = [(e, 100 * value) for e, value in zip(subject.epochs, found, strict=True) if value is not None]
            label = name if name == fused else f"{name} alone"
            style: Any = "-" if name == fused else DASHES[k % len(DASHES)]
            marker = MARKERS[k % len(MARKERS)] if few else ""
            ax.plot(
                [e for e, _ in shown], [y for _, y in shown], color=colour, label=label, linestyle=style, marker=marker
            )
        ax.locator_params(axis="x", integer=True)
        ax.set_xlabel("epoch")
        ax.set_ylabel("validation accuracy in %")
        ax.grid(color=look.line, linewidth=0.6)
        legend(ax, look)

    def words(self, subject: History, panel: str = "") -> str:
        last = subject.epochs[-1]
        told = [f"{name} {SHARE.text(found[0])} to {SHARE.text(found[-1])}" for name, found in subject.accuracy.items()]
        best = "" if subject.best is None else f" The best epoch is {subject.best}."
        return f"From epoch {subject.epochs[0]} to {last}: {'; '.join(told)}.{best}"
