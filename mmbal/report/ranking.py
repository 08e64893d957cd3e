"""A sweep as tables: its variants by mean rank, every pair of them, and what the columns mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_letters
from typing import TYPE_CHECKING, Any

from mmbal.maths.bootstrap import Estimate
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, SHARE, Form, p_value, plural, some

if TYPE_CHECKING:
    from mmbal.report.study import Pair, Standing, Study

MANY = 300  # pairs, of 25 variants: more are nothing to read


def ranking(study: Study) -> Table:
    """The variants by mean rank, with letters of the groups and the two Pareto fronts."""
    return Table.of(_columns(study.rows, study.groups, list(study.sets)), title="Ranks")


def check_columns(names: Iterable[str], sets: Sequence[str]) -> None:
    """Look up columns before a sweep is read; raises UsageError with the nearest names where its table has no such one."""
    known = Table(tuple(_columns([], [], sets)))
    for name in names:
        known.column(name)


def _columns(rows: Sequence[Standing], groups: Sequence[Sequence[str]], sets: Sequence[str]) -> list[Column]:
    letters = dict.fromkeys((row.variant for row in rows), "")
    for letter, group in zip(ascii_letters, groups, strict=False):
        for v in group:
            letters[v] += letter
    by_set = [Column(f"{s} %", [r.by_set[s] for r in rows], SHARE.bare(), drop=4, better=1) for s in sets]
    return [
        Column("variant", [row.variant for row in rows], wrap=True),
        Column("mean rank", [row.rank for row in rows], Form(2), better=-1),
        Column("group", [letters[row.variant] or None for row in rows], left=True),
        Column("accuracy %", [row.accuracy for row in rows], SHARE.bare(), better=1),
        *(by_set if len(by_set) > 1 else []),
        Column("weakest alone %", [row.weak_accuracy for row in rows], SHARE.bare(), drop=2, better=1),
        Column("seconds", [row.seconds for row in rows], Form(1), drop=2, better=-1),
        Column("not converged", [row.not_converged or None for row in rows], better=-1),
        Column("Pareto", [_fronts(row) for row in rows], drop=3, left=True),
    ]


def _fronts(row: Standing) -> str | None:
    told = [name for name, on in (("weakest", row.best_for_weak), ("seconds", row.best_for_seconds)) if on]
    return ", ".join(told) or None


def differences(study: Study, whole: bool = False) -> Table:
    """Every pair of variants: the difference, its corrected p, and what follows.

    Of more than ``MANY`` pairs those with the variant that is first in rank, unless ``whole``.
    """
    order = {row.variant: k for k, row in enumerate(study.rows)}
    told = [_better_first(pair, order) for pair in study.pairs]
    few = len(told) > MANY and not whole
    if few:
        told = [t for t in told if order[t[0]] == 0]
    told.sort(key=lambda t: (order[t[0]], order[t[1]]))
    points = f"{100 * study.within:g}"
    verdicts = {
        (a, b): "told apart" if pair.apart else f"equal within {points} pp" if pair.equal else "not told apart"
        for a, b, _, pair in told
    }
    columns = [
        Column("variant", [a for a, *_ in told], wrap=True),
        Column("minus", [b for _, b, *_ in told], left=True, wrap=True),
        Column("difference (pp)", [gain for *_, gain, _ in told], DIFFERENCE.bare()),
        Column("p", [p_value(pair.p_holm) for *_, pair in told]),
        Column("verdict", [verdicts[a, b] for a, b, *_ in told], left=True),
    ]
    title = f"Every pair with {study.rows[0].variant}, of {len(study.pairs):,} pairs" if few else "Every pair"
    return Table.of(columns, title=title)


def _better_first(pair: Pair, order: dict[str, int]) -> tuple[str, str, Estimate, Pair]:
    """The pair with the better rank first, and the first minus the second."""
    if order[pair.second] < order[pair.first]:
        return pair.second, pair.first, pair.gain, pair
    gain, low, high = pair.gain.value, pair.gain.low, pair.gain.high
    turned: dict[str, Any] = {
        "value": -gain,
        "low": None if high is None else -high,
        "high": None if low is None else -low,
    }
    return pair.first, pair.second, Estimate(**turned), pair


def conclusions(study: Study) -> list[str]:
    """Which variant is first in rank, and which are not told apart from it."""
    first = study.rows[0]
    if not study.pairs:
        return []
    near = {
        name for p in study.pairs if not p.apart for name in (p.first, p.second) if first.variant in (p.first, p.second)
    }
    names = [row.variant for row in study.rows if row.variant in near - {first.variant}]
    return [
        f"First in rank: {first.variant}, mean rank {first.rank:.2f}, accuracy {SHARE.text(first.accuracy)}.",
        f"Not told apart from it: {some(names)}." if names else "It is told apart from every other variant.",
    ]


def legend(study: Study) -> list[str]:
    """What the columns mean, and the notes."""
    level, points = f"{100 * study.confidence:.0f}", f"{100 * study.within:g}"
    return [
        f"{study.split.capitalize()} split, {plural(len(study.sets), 'data set')}, {plural(len(study.seeds), 'seed')}. "
        "Figures are means over both.",
        "Group: variants that share a letter are not told apart.",
        f"Difference: of accuracy, mean over the data sets, with its {level} % interval over samples and seeds. "
        f"p: Holm-corrected over {len(study.pairs):,} pairs.",
        *(["--csv and --json have every pair."] if len(study.pairs) > MANY else []),
        f"Equal within {points} pp: the 90 % interval of the difference lies inside ±{points} pp.",
        "Pareto: no variant is as accurate and better in the weakest modality alone, or in seconds.",
        *(
            ["Not converged: runs that results.jsonl marks as diverged or still improving; they are in the means."]
            if any(row.not_converged for row in study.rows)
            else []
        ),
        *study.notes,
    ]
