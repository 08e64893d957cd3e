"""A sweep as a whole: ranks over its data sets, all pairs of variants tested, and what accuracy costs elsewhere.

The folder of a sweep holds ``<data set>/<variant>-s<seed>``; that of one data set is a sweep too. Of two variants the
difference of accuracy is the mean over the data sets, each with its own paired difference over samples and seeds
(:class:`mmbal.report.paired.Difference`); p is corrected by Holm over all pairs. Two variants are

- *told apart* where p < 0.05;
- *practically equal* within x points where the 90 % interval of the difference lies inside [-x, x] (two one-sided tests,
  Schuirmann 1987);
- *not told apart* else.

Ranks and groups are drawn as by Demsar (JMLR 2006), with these tests in place of his.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import correct, decision_of
from mmbal.errors import UsageError
from mmbal.files import read_json_lines
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.significance import holm
from mmbal.notebook import Content, Shown, plots_of, plotted
from mmbal.predictions.format import Array, Predictions
from mmbal.progress import portion, steps
from mmbal.report.paired import LEVEL, Difference, align
from mmbal.report.ranking import conclusions, differences, legend, ranking
from mmbal.runs import CONFIG, RECORDS, find_predictions, finished, read_summary
from mmbal.text import plural

EQUAL = 0.90  # confidence of the interval that must lie within the margin
READING = 0.7  # share of the time that reading the predictions takes; the rest are the tests of the pairs


class Pair(Frozen):
    """Two variants: ``second`` minus ``first``."""

    first: str
    second: str
    gain: Estimate = Field(description="mean difference of accuracy over the data sets, with its interval")
    p: float
    p_holm: float = Field(description="the same after Holm's correction over all pairs")
    equal: bool = Field(description="practically equal within the margin")

    @property
    def apart(self) -> bool:
        """Whether the two are told apart."""
        return self.p_holm < LEVEL


class Standing(Frozen):
    """One variant over all data sets; shares are means over data sets and seeds."""

    variant: str
    method: str
    rank: float = Field(description="mean rank of accuracy over the data sets; 1 is best")
    accuracy: float
    by_set: dict[str, float]
    weak_accuracy: float | None = Field(description="of the weakest modality's own decision")
    seconds: float = Field(description="of training, one run")
    not_converged: int = Field(0, description="runs that results.jsonl marks; their figures are in the means")
    best_for_weak: bool = Field(description="no variant is as accurate and has a better weakest modality")
    best_for_seconds: bool = Field(description="no variant is as accurate and faster")


class Study(Frozen, Shown):
    """The document behind `mmbal report SWEEP --json`."""

    split: str
    confidence: float
    within: float = Field(description="margin of practical equality, a share")
    sets: dict[str, int] = Field(description="data set -> samples")
    seeds: list[int]
    rows: list[Standing] = Field(description="by mean rank, the best first")
    pairs: list[Pair]
    groups: list[list[str]] = Field(description="variants next to each other in rank of which no two are told apart")
    notes: list[str]

    def shown(self) -> Content:
        """The tables and what their columns mean, as a notebook shows them."""
        told = [*conclusions(self), *legend(self)]
        return Content(plural(len(self.rows), "variant"), told, [ranking(self), differences(self)])

    def plot(self, name: str = "ranks", ax: Any = None, panel: str | None = None) -> Any:
        """Draw one of the pictures of :meth:`plots`; see :meth:`mmbal.diagnosis.Diagnosis.plot`."""
        return plotted(self, "study", name, ax, panel)

    @staticmethod
    def plots() -> list[str]:
        """The names that :meth:`plot` takes."""
        return plots_of("study")


@dataclass(frozen=True)
class Run:
    """One finished run of a sweep."""

    data: str
    variant: str
    seed: int
    folder: Path


def is_sweep(path: Path) -> bool:
    """Whether ``path`` is the folder of a sweep."""
    return path.is_dir() and not (path / CONFIG).is_file() and any(_configs(path))


def _configs(folder: Path) -> list[Path]:
    """Where the runs of a sweep, or of one of its data sets, are configured; trials have no seed in their names."""
    found = [*folder.glob(f"*/*-s*/{CONFIG}"), *folder.glob(f"*-s*/{CONFIG}")]
    return sorted(config for config in found if config.parent.name.rpartition("-s")[2].isdigit())


def marked(folder: Path) -> set[tuple[str, str, int]]:
    """Data set, variant and seed of the runs that results.jsonl marks as not converged."""
    files = [file for file in (folder / RECORDS, folder.parent / RECORDS) if file.is_file()]
    records = read_json_lines(files[0]) if files else []
    last = {(r["data"], r["variant"], r["seed"]): bool(r["converged"]) for r in records if r["kind"] == "run"}
    return {run for run, converged in last.items() if not converged}


def runs_of(folder: Path) -> tuple[list[Run], list[str]]:
    """The finished runs of a sweep, and a sentence on each that is not finished."""
    found, notes = [], []
    for config in _configs(folder):
        run, (variant, _, seed) = config.parent, config.parent.name.rpartition("-s")
        if finished(run):
            found.append(Run(run.parent.name, variant, int(seed), run))
        else:
            notes.append(f"{run.parent.name}, {variant}, seed {seed} is not finished and is left out.")
    return found, notes


def study_of(
    folder: str | Path,
    split: str = "test",
    within: float = 0.01,
    confidence: float = 0.95,
    only: Collection[str] | None = None,
) -> Study:
    """The study of a sweep's folder on one split; ``within`` is the margin of practical equality, a share.

    ``only`` names the data sets that count; all of them by default.
    A variant counts that has every seed on every data set; the notes name the others. Raises UsageError where fewer than
    two variants are left.
    """
    runs, notes = runs_of(Path(folder))
    runs = [run for run in runs if only is None or run.data in only]
    sets, seeds = sorted({r.data for r in runs}), sorted({r.seed for r in runs})
    by_variant: dict[str, dict[tuple[str, int], Run]] = {}
    for run in runs:
        by_variant.setdefault(run.variant, {})[run.data, run.seed] = run
    whole = {v: of for v, of in by_variant.items() if len(of) == len(sets) * len(seeds)}
    notes += [
        f"{v} has not every seed on every data set and is left out." for v in sorted(set(by_variant) - set(whole))
    ]
    if len(whole) < 2:
        raise UsageError(
            f"{folder} has {len(whole)} variants that are finished on every data set with every seed; two are needed.",
            "Go on with `mmbal sweep`.",
        )
    names, kinds, odd = sorted(whole), {}, marked(Path(folder))
    scores: dict[str, dict[str, Array]] = {}
    members, weak, seconds = {}, {v: [] for v in names}, {v: [] for v in names}  # type: ignore[var-annotated]
    for data in sets:
        each = [(v, whole[v][data, seed]) for v in names for seed in seeds]
        with portion(READING / len(sets)):
            aligned = align([find_predictions(run.folder).select(split) for _, run in steps(each)])
        members[data] = _members(aligned[0])
        right: dict[str, list[Array]] = {v: [] for v in names}
        for (v, run), predictions in zip(each, aligned, strict=True):
            right[v].append(correct(decision_of(predictions).fused, predictions.labels))
            weak[v].append(_weakest(predictions))
            summary = read_summary(run.folder)
            seconds[v].append(float(summary["seconds"]))
            kinds[v] = str(summary["method"])
        scores[data] = {v: np.stack(values) for v, values in right.items()}
    with portion(1 - READING):
        pairs = _pairs(names, scores, members, within, confidence)
    means = {v: {data: float(scores[data][v].mean()) for data in sets} for v in names}
    ranks = np.mean([_ranks([means[v][data] for v in names]) for data in sets], axis=0)
    accuracy = [float(np.mean([*means[v].values()])) for v in names]
    alone = [None if any(w is None for w in weak[v]) else float(np.mean(weak[v])) for v in names]
    took = [float(np.mean(seconds[v])) for v in names]
    for_weak = front(accuracy, [-1.0 if w is None else w for w in alone])
    for_seconds = front(accuracy, [-s for s in took])
    rows = [
        Standing(
            variant=v,
            method=kinds[v],
            rank=float(ranks[k]),
            accuracy=accuracy[k],
            by_set=means[v],
            weak_accuracy=alone[k],
            seconds=took[k],
            not_converged=sum((run.data, run.variant, run.seed) in odd for run in whole[v].values()),
            best_for_weak=for_weak[k],
            best_for_seconds=for_seconds[k],
        )
        for k, v in enumerate(names)
    ]
    rows.sort(key=lambda row: (row.rank, -row.accuracy, row.variant))
    if len(seeds) == 1:
        notes.append("One seed: the tests compare these trained models, not the methods.")
    return Study(
        split=split,
        confidence=confidence,
        within=within,
        sets={data: len(members[data]) for data in sets},
        seeds=seeds,
        rows=rows,
        pairs=pairs,
        groups=groups_of([row.variant for row in rows], pairs),
        notes=notes,
    )


def _ranks(values: Sequence[float]) -> Array:
    """The rank of each value, 1 for the highest; equal ones share the mean of their ranks."""
    found = np.asarray(values)
    return (found > found[:, None]).sum(axis=1) + ((found == found[:, None]).sum(axis=1) + 1) / 2


def _members(predictions: Predictions) -> Array:
    """Which independent unit each sample belongs to: its group where the file has groups, else itself."""
    group = predictions.group
    return np.arange(len(predictions)) if group is None else np.unique(group, return_inverse=True)[1]


def _weakest(predictions: Predictions) -> float | None:
    """Accuracy of the modality that decides worst alone, over the samples that have it; None with one modality."""
    mask = predictions.present_mask()
    alone = [
        float(correct(predictions.logits[m][mask[:, k]], predictions.labels[mask[:, k]]).mean())
        for k, m in enumerate(predictions.modalities)
        if mask[:, k].any()
    ]
    return min(alone) if len(alone) > 1 else None


def _pairs(
    names: Sequence[str],
    scores: dict[str, dict[str, Array]],
    members: dict[str, Array],
    within: float,
    confidence: float,
) -> list[Pair]:
    """Every two variants; the seeds of a sweep are the same for all."""
    found = []
    for k, a in enumerate(steps(names, range(len(names), 0, -1))):
        for b in names[k + 1 :]:
            parts = [Difference.of_scores(of[a], of[b], members[data], True) for data, of in scores.items()]
            found.append(Difference.pooled(parts))
    adjusted = holm([d.p for d in found])
    pairs = []
    for (a, b), d, p in zip(combinations(names, 2), found, adjusted, strict=True):
        near = d.estimate(EQUAL)
        assert near.low is not None
        assert near.high is not None
        equal = -within <= near.low and near.high <= within
        pairs.append(Pair(first=a, second=b, gain=d.estimate(confidence), p=d.p, p_holm=float(p), equal=equal))
    return pairs


def groups_of(ranked: Sequence[str], pairs: Sequence[Pair]) -> list[list[str]]:
    """The longest runs of neighbours in ``ranked``, of two or more, in which no pair is told apart."""
    apart = {frozenset((pair.first, pair.second)) for pair in pairs if pair.apart}
    found: list[list[str]] = []
    end = 0
    for start in range(len(ranked)):
        stop = start + 1
        while stop < len(ranked) and all(frozenset((v, ranked[stop])) not in apart for v in ranked[start:stop]):
            stop += 1
        if stop - start > 1 and stop > end:
            found.append(list(ranked[start:stop]))
            end = stop
    return found


def front(first: Sequence[float], second: Sequence[float]) -> list[bool]:
    """Whether no other point is at least as high in both and higher in one (the Pareto front)."""
    points = list(zip(first, second, strict=True))
    return [not any(p != q and p[0] >= q[0] and p[1] >= q[1] for p in points) for q in points]
