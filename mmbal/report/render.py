"""A comparison as a table, with its legend, in the terminal, in Markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from mmbal.report import tables
from mmbal.report.tables import escape_markdown
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, ERROR, NATS, PLAIN, SHARE, Form, p_value, sentence

if TYPE_CHECKING:
    from mmbal.report.compare import Comparison, Row

FIGURES = ("accuracy", "nll", "ece", "weak_accuracy", "index", "decision_gap")
MOST_FIGURES = 12  # of one method, in a line of text; all are in the JSON


def table_of(comparison: Comparison, optimistic: bool = False) -> Table:
    """One row for each model (over its seeds), and the columns that hold figures."""
    return Table.of(_columns(comparison.rows, optimistic))


def check_columns(names: Iterable[str], optimistic: bool = False) -> None:
    """Look up columns before anything is read; raises UsageError with the nearest names where no comparison has one."""
    known = Table(tuple(_columns([], optimistic)))
    for name in names:
        known.column(name)


def _columns(rows: Sequence[Row], optimistic: bool) -> list[Column]:
    several = any(row.seeds > 1 for row in rows)
    tests = [row.test for row in rows]
    figures = {name: [row.figures[name] for row in rows] for name in FIGURES}
    columns = [
        Column("model", [row.label for row in rows], wrap=True),
        Column("seeds", [row.seeds if several else None for row in rows], drop=6),
        Column("accuracy %", figures["accuracy"], SHARE.bare(), better=1),
        Column("imbalance index", figures["index"], PLAIN, drop=1, better=-1),
        Column("decision gap (pp)", figures["decision_gap"], DIFFERENCE.bare(), drop=1, better=-1),
        Column("gain (pp)", [t and t.accuracy for t in tests], DIFFERENCE.bare(), drop=2, better=1),
        Column("p", [t and p_value(t.p_holm) for t in tests], drop=3),
        Column("NLL", figures["nll"], NATS, drop=5, better=-1),
        Column("ECE", figures["ece"], ERROR, drop=6, better=-1),
        Column("weakest alone %", figures["weak_accuracy"], SHARE.bare(), drop=7, better=1),
        Column(
            "weakest", [row.weak_modality if row.figures["weak_accuracy"] else None for row in rows], left=True, drop=7
        ),
        Column("last epoch %", [row.last for row in rows], SHARE.bare(), drop=7, better=1),
        Column("best epoch", [_best_epoch(row) for row in rows], drop=8),
        Column("McNemar p", [None if t is None or t.mcnemar is None else p_value(t.mcnemar) for t in tests], drop=9),
    ]
    if optimistic:
        columns.append(Column("best test epoch % (optimistic)", [row.optimistic for row in rows], SHARE.bare()))
    return columns


def conclusions(comparison: Comparison) -> list[str]:
    """Which rows the paired tests show to be more or less accurate than the first, with their gains; none without a test."""
    first, *others = comparison.rows
    tests = [(row.label, row.test) for row in others if row.test is not None]
    told = {
        "More accurate than": [t for t in tests if t[1].shown and t[1].accuracy.value > 0],
        "Less accurate than": [t for t in tests if t[1].shown and t[1].accuracy.value <= 0],
        "Not shown to differ from": [t for t in tests if not t[1].shown],
    }
    return [
        f"{way} {first.label}: {'; '.join(f'{name}, {DIFFERENCE.text(test.accuracy)}' for name, test in found)}."
        for way, found in told.items()
        if found
    ]


def legend(comparison: Comparison, table: Table | None = None) -> list[str]:
    """What the columns mean, those of ``table`` where it is given, and the notes."""
    shown = (table_of(comparison) if table is None else table).head
    split, level = comparison.split.capitalize(), f"{100 * comparison.confidence:.0f}"
    lines = [f"{split} split. Brackets hold {level} % intervals over samples."]
    if any(row.seeds > 1 for row in comparison.rows):
        lines.append("± is the standard deviation over seeds.")
    if any(entry.best_epoch is not None for row in comparison.rows for entry in row.entries):
        lines.append("Figures of runs are of their best epoch on the validation split.")
    meanings = {
        "gain (pp)": f"Gain: accuracy minus that of {comparison.rows[0].label}.",
        "p": f"p: paired test of the same accuracy as {comparison.rows[0].label}, Holm-corrected.",
        "decision gap (pp)": "Decision gap: accuracy that a fitted decision rule would gain, in pp.",
    }
    lines += [meaning for name, meaning in meanings.items() if name in shown]
    told = (line(row) for row in comparison.rows for line in (method_line, tail_line))
    return [*lines, *filter(None, told), *comparison.notes]


def method_line(row: Row) -> str:
    """What a row's method recorded, as means over the last epoch and over seeds; empty where it recorded nothing."""
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
    index = Form(1)
    told = [f"{m} {index.text(found[0][m] if len(found) == 1 else mean(t[m].value for t in found))}" for m in shared]
    return f"{row.label}, tail index of the gradient noise (smaller: heavier): {', '.join(told)}."


def markdown(table: Table, comparison: Comparison) -> str:
    """A GitHub-flavoured table with its legend."""
    lines = "".join(f"- {escape_markdown(line)}\n" for line in legend(comparison, table))
    return tables.markdown(table) + "\n" + lines


def latex(table: Table, comparison: Comparison, caption: str = "") -> str:
    """A tabular with the rules of booktabs; the legend follows the ``caption``, or stands before it all as comments."""
    told = [*legend(comparison, table), "Bold: the best figure of a column; this is no test."]
    if caption:
        return tables.latex(table, " ".join([sentence(caption), *told]))
    return "".join(f"% {text}\n" for text in told) + tables.latex(table)


def _best_epoch(row: Row) -> str | None:
    """Epochs by seed; the runs of separately trained modalities have one for each."""
    epochs = [e.best_epoch for e in row.entries if e.best_epoch is not None]
    return ", ".join("/".join(map(str, e.values())) if isinstance(e, dict) else str(e) for e in epochs) or None
