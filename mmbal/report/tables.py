"""A table as Markdown, as LaTeX and as CSV; HTML pages take it as it is (templates/base.html.j2)."""

from __future__ import annotations

import csv as csv_module
import io
import re
from collections.abc import Iterable, Sequence

from mmbal.tables import Column, Table, value_of

PARTS = ("low", "high", "spread")  # of a figure, as further columns of a CSV
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


def latex(table: Table, caption: str = "") -> str:
    """A tabular with the rules of booktabs and the best figure of a column in bold; in a table, where it has a caption.

    The title and the caption of the table itself stand before it as comments.
    """

    def line(cells: Iterable[str]) -> str:
        text = " & ".join(cells)
        # after the end of a row a bracket begins an option of it, and a star changes it
        return ("{}" if text.startswith(("[", "*")) else "") + text + r" \\"

    def cell(text: str, best: bool) -> str:
        return rf"\textbf{{{escape_latex(text.strip())}}}" if best else escape_latex(text.strip())

    told = [f"% {text}" for part in (table.title, table.caption) for text in part.splitlines()]
    aligned = "".join("l" if c.left or k == 0 else "r" for k, c in enumerate(table.columns))
    best = list(zip(*(c.best for c in table.columns), strict=True))
    body = [line(map(cell, row, bold)) for row, bold in zip(table.rows(), best, strict=True)]
    lines = [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", line(map(escape_latex, table.head)), r"\midrule"]
    lines += [*body, r"\bottomrule", r"\end{tabular}"]
    if caption:
        above = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(caption)}}}"]
        lines = [*above, *lines, r"\end{table}"]
    return "\n".join([*told, *lines, ""])


def csv(table: Table) -> str:
    """Comma-separated values in the units of the heads; a figure with an interval or a spread becomes several columns."""
    out = io.StringIO()
    write = csv_module.writer(out, lineterminator="\n").writerow
    parts = [
        (c, [part for part in PARTS if any(_part(cell, part) is not None for cell in c.cells)]) for c in table.columns
    ]
    write([name for c, ends in parts for name in (c.name, *(f"{c.name} {part}" for part in ends))])
    for k in range(len(table.columns[0].cells)):
        write([value for c, ends in parts for value in _values(c, c.cells[k], ends)])
    return out.getvalue()


def _part(cell: object, part: str) -> float | None:
    return getattr(cell, part, None)


def _values(column: Column, cell: object, parts: Sequence[str]) -> list[object]:
    values = [value_of(cell), *(_part(cell, part) for part in parts)]
    return ["" if x is None else column.form.scaled(x) if isinstance(x, float) else x for x in values]
