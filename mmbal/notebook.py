"""How tables and results show themselves in a notebook; a report's page takes the same HTML.

Pictures are found by name in their registry, so a result can draw itself although what draws
it lies above it. :class:`Shown` gives a result its ``_repr_html_``. Everything from a file or a user is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup, escape

from mmbal.errors import UsageError, did_you_mean
from mmbal.registry import pictures
from mmbal.tables import Column, Table, value_of

MARK = "◀ "  # stands before a remark in the terminal
UNIT = re.compile(r"(?<!\w{9}) (?=%|\()")  # between a short word and its unit, where a head should not break
SEVERAL, MANY = 6, 8  # columns from which a page needs more room for a table than a small or a usual screen has
MOST_ROWS = 200  # of a table in a notebook; a page has all
STYLE = Markup(
    "<style>.mmbal table{border-collapse:collapse;margin:.6em 0;font-variant-numeric:tabular-nums}"
    ".mmbal caption{text-align:left}.mmbal th,.mmbal td{padding:.2em .6em;text-align:right;vertical-align:top}"
    ".mmbal th:first-child,.mmbal .left{text-align:left}"
    ".mmbal .interval{display:block;white-space:nowrap;opacity:.7;font-size:.9em}"
    ".mmbal .hidden{display:none}.mmbal p{margin:.3em 0}</style>"
)


@dataclass(frozen=True)
class Content:
    """What a result shows of itself."""

    title: str
    sentences: Iterable[str] = ()
    tables: Iterable[Table] = ()


class Shown:
    """A result with ``_repr_html_``; a subclass gives ``shown``."""

    def shown(self) -> Content:
        """Title, sentences and tables."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        found = self.shown()
        told = Markup("").join(Markup("<p>{}</p>").format(sentence) for sentence in found.sentences)
        tables = Markup("").join(table_html(_first_rows(table)) for table in found.tables)
        return STYLE + Markup('<div class="mmbal"><p><strong>{}</strong></p>{}{}</div>').format(
            found.title, told, tables
        )


def plots_of(kind: str) -> list[str]:
    """Names of the pictures of a kind of result: diagnosis, comparison, study, run or rules."""
    return [entry.name for entry in pictures if entry.cls.of == kind]


def plotted(subject: Any, kind: str, name: str, ax: Any = None, panel: str | None = None) -> Any:
    """Draw a picture of ``subject`` on ``ax``, or on new axes, and return them.

    Raises UsageError where ``name`` is no picture of that kind, and where there is nothing to draw.
    """
    if name not in plots_of(kind):
        raise UsageError(f"There is no picture '{name}' of a {kind}.", did_you_mean(name, plots_of(kind)))
    return pictures.get(name)().plot(subject, ax, panel)


def _first_rows(table: Table) -> Table:
    n = len(table.columns[0].cells)
    if n <= MOST_ROWS:
        return table
    columns = tuple(replace(column, cells=column.cells[:MOST_ROWS]) for column in table.columns)
    return replace(table, columns=columns, caption=f"{table.caption} The first {MOST_ROWS} of {n} rows.".strip())


def table_html(table: Table) -> Markup:
    """A table with its title and caption; each cell has the number by which it can be sorted.

    Roles are stated, so that the table stays one for a screen reader where a style sheet lays it out as cards.
    """
    heads = Markup("").join(_head(column, k == 0) for k, column in enumerate(table.columns))
    rows = [
        Markup("").join(cells) for cells in zip(*(_cells(c, k == 0) for k, c in enumerate(table.columns)), strict=True)
    ]
    body = Markup("").join(Markup('<tr role="row">{}</tr>\n').format(row) for row in rows)
    parts = [Markup("<span>{}</span>").format(table.title)] if table.title else []
    parts += [Markup('<span class="soft">{}</span>').format(table.caption)] if table.caption else []
    caption = Markup("<caption>{}</caption>").format(Markup(" ").join(parts)) if parts else Markup("")
    head = Markup('<thead role="rowgroup"><tr role="row">{}</tr></thead>').format(heads)
    n = len(table.columns)
    size = Markup(' class="{}"').format("many" if n >= MANY else "several") if n >= SEVERAL else Markup("")
    page = '<table role="table"{}>{}{}\n<tbody role="rowgroup">{}</tbody></table>'
    return Markup(page).format(size, caption, head, body)


def _head(column: Column, first: bool) -> Markup:
    name = UNIT.sub("\u00a0", column.name) or Markup('<span class="hidden">{}</span>').format(
        "name" if first else "remark"
    )
    return Markup('<th scope="col" role="columnheader"{}>{}</th>').format(_aligned(column, first), name)


def _aligned(column: Column, first: bool) -> Markup:
    return Markup(' class="left"') if column.left or first else Markup("")


def _cells(column: Column, first: bool) -> Iterator[Markup]:
    """The cells of a column: the figure, and its interval apart from it, so that a page can put one under the other."""
    plain = replace(column, bar=0)
    whole, short = plain.texts(), plain.texts(intervals=False)
    for cell, text, value, best in zip(column.cells, whole, short, column.best, strict=True):
        told = Markup("/<wbr>").join(value.removeprefix(MARK).strip().split("/"))
        shown = _bar(cell, value) if column.bar and cell is not None else told
        interval = text.removeprefix(value).strip() if text.startswith(value) else ""
        if getattr(cell, "spread", None) is not None:
            mean, _, spread = value.partition(" ± ")
            shown, interval = escape(mean), f"± {spread}"
        if interval:
            shown += Markup(' <span class="interval">{}</span>').format(interval)
        if first:
            sub = Markup(' class="sub"') if value.startswith(" ") else Markup("")
            yield Markup('<th scope="row" role="rowheader"{}>{}</th>').format(sub, shown)
        else:
            key = _number(cell)
            sort = Markup("") if key is None else Markup(' data-value="{}"').format(repr(key))
            name = Markup(' data-name="{}"').format(column.name)
            inside = (
                Markup('<span class="figure{}">{}</span>').format(" best" if best else "", shown) if shown else shown
            )
            yield Markup('<td role="cell"{}{}{}>{}</td>').format(_aligned(column, False), sort, name, inside)


def _bar(cell: Any, text: str) -> Markup:
    share = max(0.0, min(1.0, float(value_of(cell))))
    return Markup('<span class="bar" style="--share: {:.1f}%">{}</span>').format(100 * share, text)


def _number(cell: Any) -> float | None:
    value = value_of(cell)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
