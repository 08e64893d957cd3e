"""A table of figures, made once and printed in the terminal, in HTML, in Markdown, in LaTeX and as CSV.

The type lies below the diagnosis and the report, since both hand out tables; how a table is printed is the report's
(:mod:`mmbal.report.tables`) and the terminal's (:mod:`mmbal.cli.console`).
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmbal.errors import UsageError, did_you_mean
from mmbal.text import DASH, PLAIN, Form, bar

GAP = 3  # characters between two columns in a terminal
INTERVALS = 1  # columns whose ``drop`` is higher go before the intervals do
LEAST_TEXT = 24  # characters that a column of text keeps where it is broken into lines


def value_of(cell: Any) -> Any:
    """The value of a cell, whether it has an interval or not."""
    return getattr(cell, "value", cell)


@dataclass(frozen=True)
class Column:
    """One column: its head, and a cell a row (text, a number, a figure with an interval, or None).

    ``drop`` orders what is left out where room is short: the highest first, 0 never. ``bar`` is the width of the bar
    that stands behind a share, 0 for none. ``left`` aligns at the left; the first column of a table always does.
    ``wrap`` allows a terminal to break the cells into lines, for sentences and paths; figures are never broken.
    ``better`` is 1 where a higher figure is better, -1 where a lower one is, 0 where neither is.
    """

    name: str
    cells: Sequence[Any]
    form: Form = PLAIN
    drop: int = 0
    left: bool = False
    bar: int = 0
    wrap: bool = False
    better: int = 0

    @property
    def plain_name(self) -> str:
        """The name without its unit, as a user types it."""
        return re.sub(r" ?(%|\(\w+\))", "", self.name).strip().lower()

    @property
    def best(self) -> list[bool]:
        """Which cells hold the best figure of the column, as it is printed; none where no direction is better."""
        told = [self.form.number(x) if isinstance(x, float) else x for x in map(value_of, self.cells)]
        found = [(self.better * x, k) for k, x in enumerate(map(value_of, self.cells)) if x is not None]
        best = told[max(found)[1]] if self.better and found else None
        return [best is not None and text == best for text in told]

    @property
    def empty(self) -> bool:
        return all(cell is None or cell == "" for cell in self.cells)

    @property
    def of_text(self) -> bool:
        """Whether the cells are names or sentences, not figures."""
        return all(cell is None or isinstance(cell, str) for cell in self.cells)

    @property
    def intervals(self) -> bool:
        """Whether any cell has an interval."""
        return any(getattr(cell, "low", None) is not None for cell in self.cells)

    def texts(self, intervals: bool = True) -> list[str]:
        """The cells as text."""
        told = [self._text(cell, intervals) for cell in self.cells]
        if not self.bar:
            return told
        longest = max(map(len, told), default=0)
        shares = list(map(value_of, self.cells))
        bars = ["" if share is None else bar(share, self.bar) for share in shares]
        return [f"{text:>{longest}} {drawn:<{self.bar}}" for text, drawn in zip(told, bars, strict=True)]

    def head(self, intervals: bool = True) -> str:
        """The name, on several lines where it is wider than what stands below it."""
        widest = max(map(len, (*self.texts(intervals), *self.name.split())), default=1)
        return textwrap.fill(self.name, max(widest, 1), break_long_words=False)

    def _text(self, cell: Any, intervals: bool) -> str:
        if cell is None:
            return DASH
        return str(cell) if isinstance(cell, (str, int)) else self.form.text(cell, intervals)


@dataclass(frozen=True)
class Table:
    """Columns of equal length, a title above and a caption below."""

    columns: tuple[Column, ...]
    title: str = ""
    caption: str = ""
    lacking: tuple[Column, ...] = ()  # columns that hold nothing here

    @classmethod
    def of(cls, columns: Iterable[Column], title: str = "", caption: str = "") -> Table:
        """The table of those columns that hold anything; the first column stays in any case."""
        first, *rest = columns
        lacking = tuple(c for c in rest if c.empty)
        return cls((first, *(c for c in rest if not c.empty)), title, caption, lacking)

    @property
    def head(self) -> list[str]:
        return [column.name for column in self.columns]

    def column(self, name: str) -> Column:
        """The column of a name, with its unit or without; raises UsageError with the nearest names where there is none."""
        wanted = name.strip().lower()
        named = [c for c in (*self.columns, *self.lacking) if wanted in (c.name.lower(), c.plain_name)]
        if not named:
            known = [c.plain_name for c in self.columns]
            raise UsageError(f"The table has no column '{name.strip()}'.", did_you_mean(name.strip(), known))
        if named[0] in self.lacking:
            raise UsageError(f"No row has anything in the column '{name.strip()}'.")
        return named[0]

    def of_columns(self, names: Iterable[str]) -> Table:
        """The first column and those named, in their order."""
        first, chosen = self.columns[0], [self.column(name) for name in names]
        return replace(self, columns=(first, *(c for c in chosen if c is not first)))

    def sorted(self, name: str) -> Table:
        """The rows by a column: figures with the best first (the highest, where neither is), text by the alphabet."""
        column = self.column(name)
        values = [value_of(cell) for cell in column.cells]
        if any(isinstance(v, str) for v in values):
            order = sorted(range(len(values)), key=lambda k: str(values[k]))
        else:
            sign = column.better or 1
            order = sorted(range(len(values)), key=lambda k: math.inf if values[k] is None else -sign * values[k])
        return replace(self, columns=tuple(replace(c, cells=[c.cells[k] for k in order]) for c in self.columns))

    def rows(self, intervals: bool = True) -> list[list[str]]:
        """The body as text, row by row."""
        return [list(row) for row in zip(*(c.texts(intervals) for c in self.columns), strict=True)]

    def width(self, intervals: bool = True, measure: Callable[[str], int] = len) -> int:
        """Characters that the table takes in a terminal at least."""
        widths = []
        for head, c in zip(self.heads(intervals), self.columns, strict=True):
            widest = max(map(measure, (*head.splitlines(), *c.texts(intervals))), default=0)
            widths.append(min(widest, LEAST_TEXT) if c.wrap else widest)
        return 1 + sum(w + GAP for w in widths)

    def heads(self, intervals: bool = True) -> list[str]:
        """The heads as a terminal prints them: but for the first, on several lines where that saves room."""
        first, *others = self.columns
        return [first.name, *(c.head(intervals) for c in others)]

    def fitting(self, width: int, measure: Callable[[str], int] = len) -> Fitted:
        """The table as it fits ``width`` characters.

        First the bars go, then the less important columns, then the intervals, then the columns that are more
        important than those, and last long names are broken into lines. A bar takes the room that an interval has left.
        """
        fitted = self._dropping(width, measure)
        if fitted.table.width(fitted.intervals, measure) <= width:
            return fitted
        columns = tuple(replace(c, wrap=c.wrap or c.of_text) for c in fitted.table.columns)
        return replace(fitted, table=replace(fitted.table, columns=columns))

    def _dropping(self, width: int, measure: Callable[[str], int]) -> Fitted:
        """What is left where bars, columns and intervals have gone as far as they may."""
        plain = replace(self, columns=tuple(replace(c, bar=0) for c in self.columns))
        if self.width(True, measure) <= width:
            return Fitted(self, True, [])
        dropped: list[str] = []
        table = _without(plain, width, True, INTERVALS, dropped, measure)
        if not any(c.intervals for c in table.columns):
            table = _without(table, width, True, 0, dropped, measure)
            return Fitted(table, True, dropped)
        if table.width(True, measure) <= width:
            return Fitted(table, True, dropped)
        kept = {c.name for c in _without(table, width, False, 0, dropped, measure).columns}
        table = replace(table, columns=tuple(c for c in table.columns if c.name in kept))
        barred = replace(self, columns=tuple(c for c in self.columns if c.name in kept))
        return Fitted(barred if barred.width(False, measure) <= width else table, False, dropped)


def _without(
    table: Table, width: int, intervals: bool, above: int, dropped: list[str], measure: Callable[[str], int]
) -> Table:
    """The table without as many of its columns as must go, the least important first, of those that ``drop`` ``above``."""
    while table.width(intervals, measure) > width:
        least = max(table.columns, key=lambda c: c.drop)
        if least.drop <= above:
            break
        table = replace(table, columns=tuple(c for c in table.columns if c is not least))
        dropped.append(least.name)
    return table


@dataclass(frozen=True)
class Fitted:
    """A table as it is printed, whether with intervals, and the names of the columns that had no room."""

    table: Table
    intervals: bool
    dropped: list[str]
