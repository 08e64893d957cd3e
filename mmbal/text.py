"""How a figure is written: one minus sign, one percent style and one form of an interval for every command and page.

65.5 % [62.1, 68.9]      a share        SHARE
+3.1 pp [+1.8, +4.4]     a difference   DIFFERENCE
0.705 [0.690, 0.721]     nats           NATS
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

STEERING = re.compile(  # signs that move the cursor or turn the text round, and bytes of a name that is not UTF-8
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
DASH = "–"  # what stands where there is no figure
MINUS = "−"


def visible(text: str) -> str:
    """The text with signs that steer a terminal, or have no encoding, as codes: a name changes nothing beside it."""
    return STEERING.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)


class Figure(Protocol):
    """A figure with its interval, where it has one."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class Form:
    """How figures of one kind are written: times ``scale``, rounded to ``digits``, with a unit and perhaps a sign."""

    digits: int = 2
    scale: float = 1.0
    unit: str = ""
    sign: bool = False

    def scaled(self, value: float) -> float:
        """The number in the unit, with as many digits as it has."""
        return float(f"{self.scale * value:.12g}")

    def rounded(self, value: float) -> float:
        """The number as it is printed."""
        return round(self.scale * value, self.digits) + 0.0  # + 0.0 turns a negative zero into zero

    def number(self, value: float) -> str:
        """The number alone, without its unit."""
        return f"{self.rounded(value):{'+' if self.sign else ''}.{self.digits}f}".replace("-", MINUS)

    def text(self, figure: Figure | float | None, interval: bool = True) -> str:
        """``value unit [low, high]``; a dash for None. The interval is left out where there is none or none is wanted."""
        if figure is None:
            return DASH
        if isinstance(figure, (int, float)):
            return self.number(figure) + self.unit
        told = self.number(figure.value) + self.unit
        spread = getattr(figure, "spread", None)
        if spread is not None:
            return f"{told} ± {replace(self, sign=False).number(spread)}"
        if not interval or figure.low is None or figure.high is None:
            return told
        return f"{told} [{self.number(figure.low)}, {self.number(figure.high)}]"

    def bare(self) -> Form:
        """The same form without the unit, for a column whose head names it."""
        return replace(self, unit="")


def signed(form: Form) -> Form:
    """The form of a difference of two figures of this form, in pp where they are shares in percent."""
    return replace(form, sign=True, unit=" pp" if form.unit == " %" else form.unit)


PLAIN = Form()
SHARE = Form(1, 100.0, " %")
WHOLE = Form(0, 100.0, " %")
DIFFERENCE = Form(1, 100.0, " pp", sign=True)
PP = Form(1, 100.0, " pp")
NATS = Form(3)
ERROR = Form(3)  # a calibration error, a share of 1
NATS_DIFFERENCE = Form(3, sign=True)
NATS_LOST = Form(2, unit=" nats")
COUNT = Form(0)


def p_value(p: float | None) -> str:
    """``0.031``, or ``< 0.001``; a dash for None."""
    if p is None:
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def bar(share: float, width: int = 10) -> str:
    """A share in [0, 1] as a bar of eighth blocks, at most ``width`` cells."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def duration(seconds: float) -> str:
    """``0.4 s``, ``50 s``, ``3 min`` or ``2 h 5 min``."""
    if seconds < 0.95:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plural(n: int, one: str, many: str = "") -> str:
    """``1 file``, ``2 files``; ``many`` where the plural takes more than an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def some(names: Sequence[Any], most: int = 6) -> str:
    """The names after one another; of many the first ``most``, and how many there are."""
    shown = ", ".join(map(str, names[:most]))
    return f"{shown}, ... {len(names)} in all" if len(names) > most else shown


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends like a sentence already."""
    return text if text.endswith((".", "?")) else f"{text}."


class Line(str):
    """A line of figures such as "epoch 3: loss 0.52, accuracy 61.0 %", which also has its parts for a table."""

    of: str
    figures: Mapping[str, str]

    @classmethod
    def told(cls, of: str, figures: Mapping[str, str]) -> Line:
        """The line of what it is ``of``, and of figures by name."""
        line = cls(f"{of}: {', '.join(f'{name} {figure}' for name, figure in figures.items())}")
        line.of, line.figures = of, figures
        return line

    def about(self, what: str) -> Line:
        """The same line, which begins with what it is about: a modality, a seed."""
        return Line.told(f"{what}, {self.of}", self.figures)
