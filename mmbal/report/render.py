"""A comparison as a table of text, and that table as Markdown and LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean

from mmbal.maths.bootstrap import Estimate
from mmbal.report.compare import Comparison, Figure, Row

DASH = "–"
# What Markdown would read as mark-up, as far as a name or a sentence can hold it; in "0.1 [0, 1]" and "a_b" nothing is.
MARKUP = re.compile(r"[\\`*|$~]|<(?=[A-Za-z/!?])|&(?=[A-Za-z#])|\](?=[(\[:])|(?<!\w)_|_(?!\w)|^[#>+-](?=[\s#])")
MOST_FIGURES = 12  # of one method, in a line of text; all are in the JSON
LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
LATEX |= {"<": "$<$", ">": "$>$", "·": r"$\cdot$", "±": r"$\pm$", "−": "$-$", "–": "--"}


@dataclass(frozen=True)
class Column:
    """A column of the comparison; ``weight`` says how early it may be dropped where room is short (highest first)."""

    name: str
    cell: Callable[[Row], str]
    weight: int


def columns(comparison: Comparison, optimistic: bool = False) -> list[Column]:
    """The columns that have something to say, in order."""
    several = any(row.seeds > 1 for row in comparison.rows)
    every = [
        Column("model", lambda row: row.label, 0),
        Column("seeds", lambda row: str(row.seeds) if several else DASH, 5),
        Column("accuracy %", lambda row: percent(row.figures["accuracy"]), 0),
        Column("vs first", lambda row: difference(row.test.accuracy) if row.test else DASH, 1),
        Column("p", lambda row: p_value(row.test.p_holm) if row.test else DASH, 1),
        Column("McNemar", lambda row: p_value(row.test.mcnemar) if row.test else DASH, 9),
        Column("NLL", lambda row: number(row.figures["nll"]), 3),
        Column("ECE", lambda row: number(row.figures["ece"]), 4),
        Column("weak alone %", _weak, 6),
        Column("imbalance index", lambda row: number(row.figures["index"], 2), 2),
        Column("decision gap", lambda row: points(row.figures["decision_gap"]), 2),
        Column("best epoch", _best_epoch, 8),
        Column("last epoch %", lambda row: percent(row.last), 7),
    ]
    if optimistic:
        every.append(Column("best test epoch % (optimistic)", lambda row: percent(row.optimistic), 0))
    return [c for c in every if any(c.cell(row) != DASH for row in comparison.rows)]


def legend(comparison: Comparison) -> list[str]:
    """What the columns mean, and the notes."""
    lines = [f"{comparison.split} split; [ ] is a {100 * comparison.confidence:.0f} % interval over samples."]
    if any(row.seeds > 1 for row in comparison.rows):
        lines.append("± is the standard deviation over seeds.")
    if any(entry.best_epoch is not None for row in comparison.rows for entry in row.entries):
        lines.append("Figures of runs are of their best epoch on the validation split.")
    if any(row.test for row in comparison.rows):
        lines.append("p: paired test of equal accuracy against the first row, Holm-corrected.")
    lines.append("Decision gap: accuracy that a fitted decision rule would gain, in pp.")
    told = (line(row) for row in comparison.rows for line in (method_line, tail_line))
    return [*lines, *filter(None, told), *comparison.notes]


def method_line(row: Row) -> str:
    """What a row's method recorded itself, means over the last epoch and over seeds; empty for nothing."""
    shared = [n for n in row.entries[0].method if all(n in entry.method for entry in row.entries)]
    if not shared:
        return ""
    told = [f"{n} {mean(entry.method[n] for entry in row.entries):.3g}" for n in shared[:MOST_FIGURES]]
    more = f" and {len(shared) - len(told)} more in --json" if len(shared) > len(told) else ""
    return f"{row.label}, last epoch: {', '.join(told)}{more}."


def tail_line(row: Row) -> str:
    """The tail index of each modality's gradient noise, where all runs of a row recorded it; of several their mean."""
    found = [entry.tails for entry in row.entries]
    shared = [m for m in sorted(found[0]) if all(m in tails for tails in found)]
    if not shared:
        return ""
    told = [
        f"{m} {number(found[0][m], 1) if len(found) == 1 else f'{mean(t[m].value for t in found):.1f}'}" for m in shared
    ]
    return f"{row.label}, tail index of the gradient noise (smaller: heavier): {', '.join(told)}."


def cells(comparison: Comparison, chosen: Sequence[Column]) -> list[list[str]]:
    """Header and rows as text."""
    return [[c.name for c in chosen], *([c.cell(row) for c in chosen] for row in comparison.rows)]


def fitting(comparison: Comparison, chosen: Sequence[Column], width: int, gap: int = 3) -> list[Column]:
    """The columns that fit ``width`` characters, the least important dropped first; weight 0 always stays."""
    kept = list(chosen)
    while len(kept) > 1:
        table = cells(comparison, kept)
        total = sum(max(len(line[k]) for line in table) + gap for k in range(len(kept)))
        least = max(kept, key=lambda c: c.weight)
        if total <= width or least.weight == 0:
            return kept
        kept.remove(least)
    return kept


def markdown(comparison: Comparison, optimistic: bool = False) -> str:
    """A GitHub-flavoured table with its legend."""
    head, *rows = cells(comparison, columns(comparison, optimistic))
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = "\n".join("| " + " | ".join(map(plain, line)) + " |" for line in lines)
    return table + "\n\n" + "\n".join(f"- {plain(line)}" for line in legend(comparison)) + "\n"


def plain(text: str) -> str:
    """``text`` as Markdown that is shown as it is, in a paragraph or in a cell: no mark-up, no HTML, one line."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def code(text: str) -> str:
    """``text`` as a code span of Markdown, whatever backticks it holds."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def latex(comparison: Comparison, optimistic: bool = False) -> str:
    """A tabular with the rules of booktabs; the legend stands before it as comments."""
    head, *rows = cells(comparison, columns(comparison, optimistic))

    def line(values: Sequence[str]) -> str:
        return " & ".join("".join(LATEX.get(c, c) for c in value) for value in values) + r" \\"

    return "\n".join(
        [
            *(f"% {text}" for text in legend(comparison)),
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            line(head),
            r"\midrule",
            *map(line, rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def percent(figure: Figure | Estimate | None) -> str:
    """``65.5 ± 1.2`` over seeds, ``65.5 [62.1, 68.9]`` of one run, in percent."""
    return _with_interval(figure, 100, 1)


def points(figure: Figure | Estimate | None) -> str:
    """A difference of accuracies, in pp."""
    return _with_interval(figure, 100, 1, sign=True)


def number(figure: Figure | Estimate | None, digits: int = 3) -> str:
    """A figure as it is, with its spread or interval."""
    return _with_interval(figure, 1, digits)


def difference(estimate: Estimate) -> str:
    """``+3.1 [+1.8, +4.4]``, in pp."""
    return _with_interval(estimate, 100, 1, sign=True)


def p_value(p: float | None) -> str:
    """``0.031``, or ``< 0.001``."""
    if p is None:
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _with_interval(figure: Figure | Estimate | None, scale: float, digits: int, sign: bool = False) -> str:
    if figure is None:
        return DASH
    value = figure.mean if isinstance(figure, Figure) else figure.value

    def text(x: float) -> str:
        return f"{scale * x:{'+' if sign else ''}.{digits}f}".replace("-", "−")

    if isinstance(figure, Figure) and figure.spread is not None:
        return f"{text(value)} ± {scale * figure.spread:.{digits}f}"
    if figure.low is None or figure.high is None:
        return text(value)
    return f"{text(value)} [{text(figure.low)}, {text(figure.high)}]"


def _weak(row: Row) -> str:
    figure = row.figures["weak_accuracy"]
    return DASH if figure is None else f"{percent(figure)} {row.weak_modality}"


def _best_epoch(row: Row) -> str:
    """Epochs by seed; the runs of separately trained modalities have one for each."""
    epochs = [e.best_epoch for e in row.entries if e.best_epoch is not None]
    return ", ".join("/".join(map(str, e.values())) if isinstance(e, dict) else str(e) for e in epochs) or DASH
