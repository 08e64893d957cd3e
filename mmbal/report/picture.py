"""What a picture is, and how it becomes part of a page or of a paper.

A picture draws one thing on matplotlib axes: of a diagnosis, a comparison, a run or a calibration. It is registered under
the name of its file (mmbal/report/pictures/) and found by it, as in ``diagnosis.plot("reliability")``. On a page it is an
SVG whose colours are the page's CSS variables, so that one drawing serves light and dark. matplotlib is imported where
something is drawn, and not before.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from markupsafe import Markup, escape

from mmbal.errors import UsageError
from mmbal.maths.bootstrap import Estimate
from mmbal.registry import pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 5.0  # inches; a page scales it, so this decides how large the letters are in it
COLUMN = 3.4  # inches of one column of a paper
FORMATS = ("svg", "png", "pdf")
MARKERS = "osD^vP*X"  # series differ in shape too, not in colour alone
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (3, 1)), (0, (8, 2)))


@dataclass(frozen=True)
class Look:
    """Colours: of text, of what stands back, of lines, of the ground, and of the series, one after the other."""

    ink: str
    soft: str
    line: str
    paper: str
    series: tuple[str, ...]

    def of(self, k: int) -> str:
        """The colour of a series."""
        return self.series[k % len(self.series)]


# Okabe and Ito's colours, the light ones darkened so that each has a contrast of 3 : 1 on white.
PAPER = Look(
    "#1b1f24", "#57606a", "#d0d7de", "#ffffff", ("#0072b2", "#d55e00", "#00805a", "#a8477f", "#8a6d00", "#3d5a80")
)
# On a page each stands for a CSS variable; the numbers are those of no real colour.
SCREEN = Look("#010101", "#010102", "#010103", "#010104", tuple(f"#0102{k:02d}" for k in range(6)))
VARIABLES = {SCREEN.ink: "--ink", SCREEN.soft: "--soft", SCREEN.line: "--line", SCREEN.paper: "--paper"}
VARIABLES |= {colour: f"--series-{k}" for k, colour in enumerate(SCREEN.series)}

STYLE: Any = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "savefig.transparent": True,
}
ON_PAGE: Any = {**STYLE, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9.5}
IN_PAPER: Any = {
    **STYLE,
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "lines.linewidth": 1.2,
}


class Picture(ABC):
    """One picture; ``draw`` is needed, and ``words`` for those who cannot see it."""

    of: ClassVar[str] = "diagnosis"  # what it is drawn of: diagnosis, comparison, run or calibration
    title: ClassVar[str] = ""
    explained: ClassVar[str] = ""  # what stands below it
    section: ClassVar[str] = ""  # the section of the diagnosis under whose heading it stands

    def panels(self, subject: Any) -> Sequence[str]:
        """Names of the drawings that it consists of, one after the other; none where there is nothing to draw."""
        return [""]

    def height(self, subject: Any, panel: str) -> float:
        """Inches, at the width of a page."""
        return 3.2

    @abstractmethod
    def draw(self, ax: Axes, subject: Any, look: Look, panel: str = "") -> None:
        """Draw on ``ax``."""

    def plot(self, subject: Any, ax: Axes | None = None, panel: str | None = None) -> Axes:
        """Draw on ``ax``, or on axes of a new figure of pyplot, in a paper's colours; see ``Diagnosis.plot``."""
        known = self.panels(subject)
        if not known or (panel is not None and panel not in known):
            why = f"It has: {', '.join(known)}." if known else "`not_computed` of the diagnosis says why."
            raise UsageError(f"There is nothing to draw of '{self.title}'{f' for {panel}' if panel else ''}.", why)
        chosen = known[0] if panel is None else panel
        if ax is None:
            from matplotlib import pyplot

            size = (WIDTH, self.height(subject, chosen))
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        dress(ax, PAPER)
        self.draw(ax, subject, PAPER, chosen)
        return ax

    @abstractmethod
    def words(self, subject: Any, panel: str = "") -> str:
        """What the picture shows, with its figures."""


def pictures_of(kind: str) -> dict[str, Picture]:
    """The pictures of a kind of subject, by name."""
    found = {entry.name: entry.cls() for entry in pictures}
    return {name: picture for name, picture in found.items() if picture.of == kind}


def figure(picture: Picture, subject: Any, panel: str, look: Look, width: float) -> Figure:
    """The picture as a figure of its own."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, picture.height(subject, panel) * (width / WIDTH) ** 0.5), layout="constrained")
    ax = made.add_subplot()
    dress(ax, look)
    picture.draw(ax, subject, look, panel)
    return made


def dress(ax: Axes, look: Look) -> None:
    """Give axes the look's colours."""
    ax.set_facecolor("none")
    ax.tick_params(colors=look.soft, labelcolor=look.ink, length=0)
    for spine in ax.spines.values():
        spine.set_color(look.line)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        text.set_color(look.ink)


def interval(ax: Axes, figure: Any, y: float, colour: str, width: float = 1.2) -> None:
    """The interval of a share, in percent, as a line at height ``y``; nothing where it has none."""
    if figure.low is not None and figure.high is not None:
        ax.plot([100 * figure.low, 100 * figure.high], [y, y], color=colour, linewidth=width)


def around(figure: Any) -> Estimate:
    """A figure of a comparison with its interval over samples, or with its spread over seeds where it has that."""
    if figure.spread is None:
        return Estimate(value=figure.value, low=figure.low, high=figure.high)
    return Estimate(value=figure.value, low=figure.value - figure.spread, high=figure.value + figure.spread)


def short(label: str, most: int = 30) -> str:
    """A label that leaves room for the picture."""
    return label if len(label) <= most else f"{label[: most - 1]}…"


def remark(ax: Axes, text: str, y: float, colour: str) -> None:
    """A word at the right of the axes, at height ``y``."""
    beside: Any = ("axes fraction", "data")
    ax.annotate(text, (1, y), xycoords=beside, xytext=(4, 0), textcoords="offset points", color=colour, va="center")


def legend(ax: Axes, look: Look, columns: int = 3, **given: Any) -> None:
    """A legend above the axes."""
    place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderpad": 0, "columnspacing": 1.2}
    ax.legend(ncols=columns, labelcolor=look.ink, **place, **given)


def svg(picture: Picture, name: str, subject: Any, panel: str = "") -> Markup:
    """The picture as an element of a page; ``name`` must differ from that of every other picture on it."""
    import matplotlib

    with matplotlib.rc_context(ON_PAGE | _salted(name)):
        out = io.StringIO()
        figure(picture, subject, panel, SCREEN, WIDTH).savefig(out, format="svg", metadata={"Date": None})
    return _inline(out.getvalue(), name, f"{picture.title}. {picture.words(subject, panel)}")


def _inline(text: str, name: str, told: str) -> Markup:
    """An SVG file as an element: no header, no metadata, no size of its own, ids of its own, the page's colours."""
    text = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", text)
    text = re.sub(r' id="[^"]*(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend)_\d+"', "", text)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub("|".join(VARIABLES), lambda found: f"var({VARIABLES[found[0]]})", text)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="1.1"', "", text).replace("xlink:href", "href")
    return Markup(text.strip().replace("<svg", f'<svg role="img" aria-label="{escape(told)}"', 1))


def _salted(name: str) -> Any:
    """Makes the ids of an SVG follow from its name, so that the same picture is the same file."""
    return {"svg.hashsalt": name}


@contextmanager
def paper_style() -> Iterator[None]:
    """The size and fonts of a paper, within the block."""
    import matplotlib

    with matplotlib.rc_context(IN_PAPER):
        yield


def save(picture: Picture, name: str, subject: Any, folder: Path, width: float = COLUMN) -> list[Path]:
    """Write each panel as SVG, PNG (300 dpi) and PDF into ``folder``, as wide as a column of a paper."""
    import matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with paper_style(), matplotlib.rc_context(_salted(name)):
        for panel in picture.panels(subject):
            made = figure(picture, subject, panel, PAPER, width)
            stem = re.sub(r"[^\w.-]+", "_", f"{name}-{panel}" if panel else name)
            for ending in FORMATS:
                date = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[ending]
                written.append(folder / f"{stem}.{ending}")
                made.savefig(written[-1], dpi=300, transparent=ending != "png", metadata=date)
    return written
