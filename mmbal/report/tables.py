"""A table as Markdown, as LaTeX and as CSV; HTML pages take it as it is (templates/base.html.j2)."""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Sequence

from mmbal.tables import Table

LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
LATEX |= {"<": "$<$", ">": "$>$", "·": r"$\cdot$", "±": r"$\pm$", "−": "$-$", "–": "--"}
# What Markdown would read as mark-up, as far as a name or a sentence can hold it; in "0.1 [0, 1]" and "a_b" nothing is.
MARKUP = re.compile(r"[\\`*|$~]|<(?=[A-Za-z/!?])|&(?=[A-Za-z#])|\](?=[(\[:])|(?<!\w)_|_(?!\w)|^[#>+-](?=[\s#])")


def escape_markdown(text: str) -> str:
    """Text as Markdown that is shown as it is, in a paragraph or in a cell: no mark-up, no HTML, one line."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(LATEX.get(c, c) for c in text)


def markdown(table: Table) -> str:
    """A GitHub-flavoured table, with its title above and its caption below."""
    aligned = [("---" if c.left or k == 0 else "---:") for k, c in enumerate(table.columns)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |\n"

    body = "".join(line([escape_markdown(cell) for cell in row]) for row in table.rows())
    title = f"**{escape_markdown(table.title)}**\n\n" if table.title else ""
    caption = f"\n{escape_markdown(table.caption)}\n" if table.caption else ""
    return title + line([escape_markdown(name) for name in table.head]) + line(aligned) + body + caption


def latex(table: Table) -> str:
    """A tabular with the rules of booktabs; title and caption stand before it as comments."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(escape_latex(cell.strip()) for cell in cells) + r" \\"

    told = [f"% {text}" for part in (table.title, table.caption) for text in part.splitlines()]
    aligned = "".join("l" if c.left or k == 0 else "r" for k, c in enumerate(table.columns))
    lines = [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", line(table.head), r"\midrule"]
    return "\n".join([*told, *lines, *map(line, table.rows()), r"\bottomrule", r"\end{tabular}", ""])


def csv(table: Table) -> str:
    """Comma-separated values. A figure with an interval becomes three columns: the value, ``low`` and ``high``."""
    out = io.StringIO()
    write = csv_module.writer(out, lineterminator="\n").writerow
    write([name for c in table.columns for name in _names(c.name, c.intervals)])
    for k in range(len(table.columns[0].cells)):
        write([value for c in table.columns for value in _values(c.cells[k], c.intervals)])
    return out.getvalue()


def _names(name: str, intervals: bool) -> list[str]:
    return [name, f"{name}.low", f"{name}.high"] if intervals else [name]


def _values(cell: object, intervals: bool) -> list[object]:
    value = getattr(cell, "value", cell)
    ends = [getattr(cell, "low", None), getattr(cell, "high", None)] if intervals else []
    return ["" if x is None else x for x in (value, *ends)]
