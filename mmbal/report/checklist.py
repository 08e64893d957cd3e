"""What a comparison of methods should say of itself, after "Fusion or Confusion?" (arXiv 2512.22991), filled in for a sweep.

The paper found that 19 published methods do not beat a tuned late fusion under one protocol, and that their gains came from
splits, tuning, seeds and tests. Each question here is one of those; an answer is what the runs themselves show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.errors import UsageError
from mmbal.files import read_json_lines
from mmbal.report.study import Run, Study, runs_of, study_of
from mmbal.runs import RECORDS, find_predictions, read_config, read_environment, read_summary
from mmbal.tables import Column, Table
from mmbal.text import duration, plural

BASELINES = ("joint", "late_fusion", "unimodal")
MANY = 10  # methods that are counted, not listed
QUESTIONS = {
    "splits": "Are training, validation and test samples apart, also by speaker or patient where samples have one?",
    "selection": "Did validation data alone choose the epoch and the hyper-parameters?",
    "tuning": "Did every method, the baselines included, get the same search?",
    "baselines": "Are joint training, a tuned late fusion and separately trained modalities in the table?",
    "seeds": "How many seeds are behind each figure?",
    "tests": "Which tests were made, with which correction?",
    "missing modalities": "Are modalities missing in training or in the test, and in how many samples?",
    "cost": "What did training take, and on what?",
}


def checklist(folder: str | Path | None = None, split: str = "test", within: float = 0.01) -> Table:
    """The questions, and the answers for the sweep in ``folder``; without one there is room for them.

    Raises UsageError where the folder holds no finished run.
    """
    answers = {} if folder is None else answers_of(Path(folder), split, within)
    return Table.of(
        [
            Column("item", list(QUESTIONS)),
            Column("question", list(QUESTIONS.values()), left=True, wrap=True),
            Column("answer", [answers.get(item, "to be filled in") for item in QUESTIONS], left=True, wrap=True),
        ],
        title="Checklist",
    )


def answers_of(folder: Path, split: str, within: float) -> dict[str, str]:
    """Item -> what the runs of a sweep show."""
    runs, _ = runs_of(folder)
    if not runs:
        raise UsageError(f"{folder} holds no finished run.", "`mmbal sweep` makes them.")
    found: dict[str, Callable[[Sequence[Run]], str]] = {
        "splits": _splits,
        "selection": _selection,
        "tuning": _tuning,
        "baselines": _baselines,
        "seeds": _seeds,
        "missing modalities": _missing,
        "cost": _cost,
    }
    answers = {item: answer(runs) for item, answer in found.items()}
    try:
        answers["tests"] = _tests(study_of(folder, split, within))
    except UsageError as error:
        answers["tests"] = f"None: {error.message}"
    return answers


def _first_by_set(runs: Sequence[Run]) -> dict[str, Run]:
    return dict(sorted({run.data: run for run in runs}.items()))


def _splits(runs: Sequence[Run]) -> str:
    told = []
    for data, run in _first_by_set(runs).items():
        sizes = read_environment(run.folder)["store"]["splits"]
        line = f"{data}: " + ", ".join(f"{n} {name}" for name, n in sizes.items())
        found = find_predictions(run.folder)
        if found.group is not None:
            groups = [set(map(str, found.group[found.split == name])) for name in np.unique(found.split)]
            line += f", {plural(len(set.intersection(*groups)), 'group')} in both validation and test"
        told.append(line)
    return "; ".join(told) + "."


def _selection(runs: Sequence[Run]) -> str:
    by = Counter(str(read_config(run.folder).get("select", "accuracy")) for run in runs)
    told = " and ".join(f"by {name} in {plural(n, 'run')}" for name, n in sorted(by.items()))
    optimistic = sum("optimistic" in read_summary(run.folder) for run in runs)
    also = f" {plural(optimistic, 'run')} also recorded the best epoch on test data, which is not used here."
    return f"The epoch on validation, {told}.{also if optimistic else ''}"


def _tuning(runs: Sequence[Run]) -> str:
    variants: dict[str, set[str]] = {}
    for run in runs:
        variants.setdefault(str(read_summary(run.folder)["method"]), set()).add(run.variant)
    sizes = {method: len(found) for method, found in sorted(variants.items())}
    told = ", ".join(f"{method} {n}" for method, n in sizes.items())
    if len(sizes) > MANY and len(set(sizes.values())) == 1:
        told = f"{plural(next(iter(sizes.values())), 'variant')} of each of {len(sizes)} methods"
    alike = "the same number for each" if len(set(sizes.values())) == 1 else "NOT the same number for each"
    return f"Variants by method: {told}; {alike}. {_trials(runs)}"


def _trials(runs: Sequence[Run]) -> str:
    """How many trials a search gave to each variant, by results.jsonl."""
    file = runs[0].folder.parents[1] / RECORDS
    records = read_json_lines(file) if file.is_file() else []
    shown = {(run.data, run.variant) for run in runs}
    trials = {(r["data"], r["variant"], r["number"]) for r in records if r["kind"] == "trial"}
    sizes = {sum(t[:2] == unit for t in trials) for unit in shown}
    if sizes == {0}:
        return "No search is recorded."
    few, many = min(sizes), max(sizes)
    return (
        f"Search: {many} trials for each." if few == many else f"Search: {few} to {many} trials, NOT the same for each."
    )


def _baselines(runs: Sequence[Run]) -> str:
    there = {str(read_summary(run.folder)["method"]) for run in runs}
    have, lack = [b for b in BASELINES if b in there], [b for b in BASELINES if b not in there]
    return f"There: {', '.join(have) or 'none'}. Not there: {', '.join(lack) or 'none'}."


def _seeds(runs: Sequence[Run]) -> str:
    seeds = Counter((run.data, run.variant) for run in runs)
    few, many = min(seeds.values()), max(seeds.values())
    return plural(few, "seed") if few == many else f"{few} to {many} seeds: NOT the same number for each."


def _tests(study: Study) -> str:
    apart = sum(pair.apart for pair in study.pairs)
    equal = sum(pair.equal and not pair.apart for pair in study.pairs)
    return (
        f"Paired over samples and seeds, {plural(len(study.pairs), 'pair')}, Holm-corrected: {apart:,} told apart, "
        f"{equal:,} practically equal within {100 * study.within:g} pp, {len(study.pairs) - apart - equal:,} undecided."
    )


def _missing(runs: Sequence[Run]) -> str:
    told = []
    for data, run in _first_by_set(runs).items():
        found = find_predictions(run.folder)
        present = found.present_mask()
        absent = {m: float(1 - np.mean(present[:, k])) for k, m in enumerate(found.modalities)}
        lacking = ", ".join(f"{m} in {100 * share:.0f} %" for m, share in absent.items() if share > 0)
        told.append(f"{data}: {lacking or 'none'}")
    return "Validation and test, " + "; ".join(told) + "."


def _cost(runs: Sequence[Run]) -> str:
    seconds = [float(read_summary(run.folder)["seconds"]) for run in runs]
    devices = sorted({str(_device(run.folder)) for run in runs})
    took = f"{duration(sum(seconds))} in all, {duration(float(np.mean(seconds)))} each"
    return f"{plural(len(runs), 'run')}, {took}, on {', '.join(devices)}."


def _device(folder: Path) -> Any:
    return read_environment(folder).get("device", "an unknown device")
