"""The conditions of ``mmbal diagnose --fail-if``: FIGURE OPERATOR NUMBER, over the figures of a diagnosis.

    index > 0.2        contribution.video < 0.3        decision_gap.accuracy.low > 0.01        classes.HAP.fused <= 0.5

A figure is a dotted path into diagnosis.json. An estimate stands for its value; ``.low`` and ``.high`` are the ends of
its interval. Operators: ``> >= < <= == !=``. Nothing is evaluated as code.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mmbal.diagnosis.document import Diagnosis, renamed
from mmbal.diagnosis.paths import Figure
from mmbal.diagnosis.paths import figures_of as figures_of
from mmbal.errors import UsageError, did_you_mean

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = re.compile(r"\s*(?P<path>[^<>=!]+?)\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<bound>[^<>=!]+?)\s*")


@dataclass(frozen=True)
class Condition:
    """A parsed condition."""

    path: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse ``FIGURE OPERATOR NUMBER``; raises UsageError where the text has another form."""
        match = FORM.fullmatch(text)
        try:
            if match is None or not math.isfinite(float(match["bound"])):
                raise ValueError
            return cls(match["path"], match["sign"], float(match["bound"]))
        except ValueError:
            raise UsageError(
                f"The condition '{text}' is not of the form FIGURE OPERATOR NUMBER.",
                f"For example: 'index > 0.2'. Operators: {' '.join(OPERATORS)}.",
            ) from None

    def judge(self, diagnosis: Diagnosis, more: Mapping[str, Figure] = {}) -> Outcome:
        """Whether the condition holds; raises UsageError for an unknown figure and for one that was not computed.

        ``more`` has further figures. A figure is also found by the words that tables call it by: ``ECE fused``.
        """
        figures = figures_of(diagnosis) | dict(more)
        path = spelled(renamed(self.path), figures)
        if path not in figures:
            empty = _empty(diagnosis.model_dump(mode="json"))
            if _ways(path) & empty:
                about = [n for n in diagnosis.not_computed if _ways(path) & _ways(n.what)]
                about.sort(key=lambda n: -len(_ways(path) & _ways(n.what)))  # the reason that is nearest to the path
                reason = f" ({about[0].reason})" if about else ""
                raise UsageError(
                    f"'{self.path}' was not computed{reason}, so the condition can't be judged.",
                    "What a file has to hold for each figure: docs/your-model.md.",
                )
            # a name that is close to one without a figure is worth saying; a list of all names has figures only
            hint = _nearest(self.path, {*figures, *empty})
            hint = hint if hint.startswith("Did you mean") else _nearest(self.path, figures)
            raise UsageError(f"The diagnosis has no figure '{self.path}'.", hint)
        value, low, high = figures[path]
        return Outcome(self, OPERATORS[self.sign](value, self.bound), value, low, high)


@dataclass(frozen=True)
class Outcome:
    """The result of a condition: the figure that it is about, and whether it holds."""

    condition: Condition
    holds: bool
    value: float
    low: float | None
    high: float | None

    @property
    def spans(self) -> bool:
        """Whether the condition holds at one end of the figure's interval and not at the other."""
        if self.low is None or self.high is None:
            return False
        holds, bound = OPERATORS[self.condition.sign], self.condition.bound
        return holds(self.low, bound) != holds(self.high, bound)

    def __str__(self) -> str:
        c = self.condition
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3g}, {self.high:.3g}]"
        verb = "holds" if self.holds else "does not hold"
        return f"{c.path} = {self.value:.3g}{interval}, and '{c.path} {c.sign} {c.bound:g}' {verb}"


LEFT_OUT = {"of", "the", "imbalance", "%", "(pp)", "pp", "(nats)", ""}  # words of table heads that no path has
SHORT = {  # what a table means where it does not say of what
    "accuracy": "accuracy.fused",
    "decision gap": "decision_gap.accuracy",
    "representation gap": "representation_gap.accuracy",
    "total": "total.accuracy",
}


def spelled(name: str, figures: Collection[str]) -> str:
    """The path of the figure that a table calls ``name``; the name itself where no figure or more than one fits.

    A figure fits whose path is made of the words of the name, or is the only one that has all of them.
    """
    if name in figures:
        return name
    words = _words(name)
    short = next((path for head, path in SHORT.items() if _words(head) == words), "")
    paths = [path for path in figures if not path.endswith((".value", ".low", ".high"))]
    fitting = [path for path in paths if words and words <= _words(path)]
    found = [
        [path for path in fitting if path == short],
        [path for path in fitting if words == _words(path) - {"classes"}],
        [path for path in fitting if not path.startswith("classes.")],
        fitting,
    ]
    return next((some[0] for some in found if len(some) == 1), name)


def _words(name: str) -> set[str]:
    return set(re.split(r"[\s._]+", name.lower())) - LEFT_OUT


def _ways(path: str) -> set[str]:
    """The path and all that it goes through."""
    parts = path.split(".")
    return {".".join(parts[: k + 1]) for k in range(len(parts))}


def _nearest(path: str, known: Collection[str]) -> str:
    """A hint: the known paths that hold all words of an unknown one, or those that continue its known part."""
    words, start = set(path.lower().replace(" ", "_").split(".")), ""
    if not any(name.startswith(path.split(".")[0] + ".") for name in known):
        figures = [name for name in known if not name.endswith((".value", ".low", ".high"))]
        elsewhere = [name for name in figures if words <= set(name.lower().split("."))]
        if elsewhere:
            return f"Did you mean {' or '.join(sorted(elsewhere, key=lambda name: (len(name), name))[:3])}?"
    while True:
        below = {name[len(start) :].split(".")[0] for name in known if name.startswith(start)}
        step = path[len(start) :].split(".")[0]
        if step not in below:
            return did_you_mean(start + step, {start + name for name in below})
        start += f"{step}."


def _empty(node: Any, path: str = "") -> set[str]:
    """The paths that exist but hold no figure."""
    if node in (None, {}):
        return {path}
    if isinstance(node, dict):
        return set().union(*(_empty(child, f"{path}.{key}" if path else key) for key, child in node.items()))
    return set()
