"""The tables of docs/benchmark.md, from the folder of its sweep.

    mmbal sweep examples/benchmark_study.yaml --no-tables --out runs/benchmark
    python benchmarks/benchmark_page.py runs/benchmark [SET...]

Printed for each data set, and for all together where there are several: the ranks, how many pairs are told apart, every
method that is told apart from joint training or from late fusion, and what families of methods gain over joint training. A
family is what a method's page says; *own losses* have a loss ``own/<modality>`` in their runs, the cross-entropy
of a modality's own decision. The gain of a family is that of the mean accuracy of its methods.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mmbal.diagnosis.coalitions import correct, decision_of
from mmbal.maths.significance import holm
from mmbal.registry import methods
from mmbal.report.paired import Difference, align
from mmbal.report.ranking import ranking
from mmbal.report.study import Pair, Run, Study, runs_of, study_of
from mmbal.report.tables import markdown
from mmbal.runs import find_predictions, read_metrics
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, p_value

BASELINES = ("joint", "late_fusion")


def apart_from(baseline: str, study: Study) -> list[str]:
    """A line for each method that is told apart from ``baseline``, the largest gain first."""
    lines = []
    for pair in study.pairs:
        if pair.apart and baseline in (pair.first, pair.second):
            sign = 1 if pair.first == baseline else -1
            other = pair.second if sign == 1 else pair.first
            lines.append((sign * (pair.gain.value or 0.0), other, pair))
    return [
        f"- `{other}` {_gain(pair, other)}, p = {p_value(pair.p_holm)}"
        for _, other, pair in sorted(lines, reverse=True)
    ]


def _gain(pair: Pair, of: str) -> str:
    """The gain of a method over the other of its pair, in pp."""
    gain = pair.gain
    if of == pair.first:
        turned = {"value": -gain.value, "low": -gain.high, "high": -gain.low}
        gain = gain.model_copy(update=turned)
    return DIFFERENCE.text(gain)


def has_own_losses(run: Run) -> bool:
    """Whether a modality's own decision has a loss of its own in some epoch."""
    return any(name.startswith("loss/own/") for epoch in read_metrics(run.folder) for name in epoch["train"])


def families(folder: Path, variants: set[str]) -> Table:
    """What each family of ``variants`` gains over joint training on the data sets in ``folder``."""
    runs = [run for run in runs_of(folder)[0] if run.variant in variants]
    groups: dict[str, set[str]] = {}
    for run in runs:
        if run.variant != "joint":
            own = "own losses" if has_own_losses(run) else "no own losses"
            for group in (own, methods.entry(run.variant).about.family):
                groups.setdefault(group, set()).add(run.variant)
    parts: dict[str, list[Difference]] = {group: [] for group in groups}
    for data in sorted({run.data for run in runs}):
        here = sorted((run for run in runs if run.data == data), key=lambda run: (run.variant, run.seed))
        aligned = align([find_predictions(run.folder).select("test") for run in here])
        scores: dict[str, list[np.ndarray]] = {}
        for run, found in zip(here, aligned, strict=True):
            scores.setdefault(run.variant, []).append(correct(decision_of(found).fused, found.labels))
        each = {variant: np.stack(values).astype(float) for variant, values in scores.items()}
        group = aligned[0].group
        member = np.arange(len(aligned[0])) if group is None else np.unique(group, return_inverse=True)[1]
        for name, mine in groups.items():
            mean = np.mean([each[v] for v in sorted(mine)], axis=0)
            parts[name].append(Difference.of_scores(each["joint"], mean, member, True))
    gains = {name: Difference.pooled(found) for name, found in parts.items()}
    corrected = dict(zip(gains, holm([d.p for d in gains.values()]), strict=True))
    order = sorted(gains, key=lambda name: (not name.endswith("own losses"), -gains[name].value))
    return Table.of(
        [
            Column("family", order),
            Column("methods", [len(groups[name]) for name in order]),
            Column("gain over joint (pp)", [gains[name].estimate(0.95) for name in order], DIFFERENCE.bare()),
            Column("p", [p_value(corrected[name]) for name in order]),
        ],
        title="Families",
    )


def told(name: str, study: Study, folder: Path) -> str:
    """The section of a study."""
    apart = sum(pair.apart for pair in study.pairs)
    equal = sum(pair.equal and not pair.apart for pair in study.pairs)
    lines = [f"## {name}", "", markdown(ranking(study)), ""]
    lines += [
        f"{len(study.pairs)} pairs: {apart} told apart, {equal} practically equal within 1 pp, "
        f"{len(study.pairs) - apart - equal} undecided."
    ]
    for baseline in BASELINES:
        found = apart_from(baseline, study)
        lines += ["", f"Told apart from `{baseline}`:" if found else f"No method is told apart from `{baseline}`.", ""]
        lines += found
    lines += ["", markdown(families(folder, {row.variant for row in study.rows}))]
    return "\n".join([*lines, "", *(f"- {note}" for note in study.notes)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("sets", nargs="*")
    arguments = parser.parse_args()
    sets = arguments.sets or sorted(folder.name for folder in arguments.sweep.iterdir() if folder.is_dir())
    for name in sets:
        print(told(name, study_of(arguments.sweep / name), arguments.sweep / name))
    if len(sets) > 1:
        print(told("all sets", study_of(arguments.sweep), arguments.sweep))


if __name__ == "__main__":
    main()
