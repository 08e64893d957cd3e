"""Runs side by side: each figure with its spread, and whether the others differ from the first by more than chance.

Runs that differ only in their seed are one row. The first row is what the others are tested against, on the same
samples (mmbal/report/paired.py), with Holm's correction over all rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis import Diagnosis
from mmbal.diagnosis.stored import diagnosis_of
from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.significance import holm
from mmbal.predictions.format import Predictions
from mmbal.predictions.format import Source as Given
from mmbal.predictions.source import predictions_of
from mmbal.progress import steps
from mmbal.report.paired import PairedTest, paired_test
from mmbal.runs import DIAGNOSIS, Subject, decided_by, read_config, read_metrics, read_summary, run_folder, subject

SCHEMA_VERSION = 1
FIGURES = ("accuracy", "nll", "ece", "weak_accuracy", "index", "decision_gap")
SEED_ONLY = ("seed", "data", "device")  # a run differs in these and is still the same experiment on the same store
UNTOLD = ("seed", "run", "producer")  # two experiments never differ by these alone


class Epoch(Frozen):
    """Figures of one epoch of a run."""

    epoch: int
    accuracy: float
    nll: float | None = None


class Entry(Frozen):
    """One run, diagnosis or predictions file."""

    path: str
    seed: int | None = None
    samples: int
    weak_modality: str | None = Field(description="the modality that decides worst alone")
    figures: dict[str, Estimate | None] = Field(description="accuracy, nll, ece, weak_accuracy, index, decision_gap")
    best_epoch: int | dict[str, int] | None = Field(
        None, description="the best epoch on validation, of which all figures are"
    )
    last: Epoch | None = None
    optimistic: Epoch | None = Field(None, description="the best epoch on TEST data, as papers quote it")
    method: dict[str, float] = Field({}, description="what the method itself recorded, means over the last epoch")
    tails: dict[str, Estimate] = Field({}, description="modality -> tail index of its gradient noise, where recorded")


class Figure(Estimate):
    """A figure over the seeds of a row, their mean; with one seed its interval over samples."""

    spread: float | None = Field(None, description="standard deviation over seeds")


class Row(Frozen):
    """Runs that differ only by their seed."""

    label: str
    meta: dict[str, Any]
    entries: list[Entry]
    figures: dict[str, Figure | None]
    weak_modality: str | None
    last: Figure | None = Field(None, description="accuracy of the last epoch")
    optimistic: Figure | None = Field(None, description="accuracy of the best epoch on test data")
    test: PairedTest | None = None

    @property
    def seeds(self) -> int:
        return len(self.entries)


class Comparison(Frozen):
    """The whole document behind `mmbal report --json`."""

    schema_version: int = SCHEMA_VERSION
    split: str
    confidence: float
    rows: list[Row]
    notes: list[str] = Field(description="what could not be computed or tested, and why")

    def relabelled(self, names: Mapping[str, str]) -> Comparison:
        """The same with other names of rows; raises UsageError where there is no such row."""
        known = [row.label for row in self.rows]
        for name in names:
            if name not in known:
                raise UsageError(f"There is no row '{name}'.", did_you_mean(name, known))
        rows = [row.model_copy(update={"label": names.get(row.label, row.label)}) for row in self.rows]
        return self.model_copy(update={"rows": rows})


@dataclass(frozen=True)
class Source:
    """What one path of the report holds."""

    path: Path
    diagnosis: Diagnosis
    predictions: Predictions | None  # of the split that is compared
    config: dict[str, Any]
    summary: dict[str, Any]

    @property
    def meta(self) -> dict[str, Any]:
        return self.diagnosis.data.meta

    @property
    def folder(self) -> Path | None:
        """The folder of the run, where the path is one."""
        return run_folder(self.path)

    @property
    def kind(self) -> str:
        """Text that is equal for runs that differ only by their seed, and unique where no seed is known."""
        if self.meta.get("seed") is None:
            return str(self.path.resolve())
        told = {k: v for k, v in self.meta.items() if k not in UNTOLD}
        return repr((sorted(told.items()), sorted(self.config.items())))


def compare(
    inputs: Iterable[Given] | Mapping[str, Given],
    split: str = "test",
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare models on one split; the first is what the others are tested against.

    ``inputs``: several runs, diagnoses, files of predictions or features, Predictions or mappings of arrays, or a mapping
    from the name of each to it. Raises UsageError where there is nothing, or a path holds none of these; DataError where
    a file is broken.
    """
    named = inputs.items() if isinstance(inputs, Mapping) else ((None, given) for given in inputs)
    read = [read_source(given, split, replicates, confidence, seed, name) for name, given in steps(list(named))]
    return compare_sources(read, replicates, confidence, seed)


def compare_sources(
    sources: Sequence[Source],
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    baseline: str | None = None,
) -> Comparison:
    """The comparison of sources that were read already, all on the same split.

    ``baseline`` is the label or the path of the row that the others are tested against, the first by default.
    """
    if not sources:
        raise UsageError("There is nothing to report.", "Give runs, diagnosis.json or predictions files.")
    groups = group_by_seed(sources)
    names = labels(groups)
    if baseline is not None:
        first = _first(names, groups, baseline)
        groups = [groups[first], *groups[:first], *groups[first + 1 :]]
        names = [names[first], *names[:first], *names[first + 1 :]]
    notes: list[str] = []
    tests: dict[int, PairedTest] = {}
    for k in range(1, len(groups)):
        try:
            tests[k] = paired_test(_predictions(groups[0]), _predictions(groups[k]), replicates, confidence, seed)
        except DataError as error:
            notes.append(f"{names[k]} is not tested against {names[0]}: {error.message}")
    adjusted = holm([test.p for test in tests.values()])
    tests = {k: t.model_copy(update={"p_holm": float(p)}) for (k, t), p in zip(tests.items(), adjusted, strict=True)}
    if any(len(groups[k]) == 1 for k in tests):
        notes.append("Rows of one seed: the test compares these trained models, not the methods.")
    ruled = {
        name: group[0].meta["rule"] for name, group in zip(names, groups, strict=True) if group[0].meta.get("rule")
    }
    notes += [f"{name}: {decided_by(rule)}" for name, rule in ruled.items()]
    rows = [_row(names[k], group, tests.get(k)) for k, group in enumerate(groups)]
    return Comparison(split=sources[0].diagnosis.data.split, confidence=confidence, rows=rows, notes=notes)


def _predictions(group: Sequence[Source]) -> list[Predictions]:
    for source in group:
        if source.predictions is None:
            raise DataError(f"{source.path} is a diagnosis without predictions; give the run or the predictions file.")
    return [source.predictions for source in group if source.predictions is not None]


def read_source(
    given: Given,
    split: str = "test",
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    name: str | None = None,
) -> Source:
    """What :func:`compare` takes; diagnosed now where it was not. ``name`` stands for what has no path."""
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
    else:
        given = predictions_of(given)
        path = Path(name or str(given.meta.get("run") or given.meta.get("dataset") or "predictions"))
    if path.suffix == ".json":
        kept = Diagnosis.load(path)
        if kept.data.split != split:
            raise UsageError(
                f"{path} is a diagnosis of the split '{kept.data.split}', not of '{split}'.",
                f"Compare on --split {kept.data.split}, or give the run itself.",
            )
        return Source(path, kept, None, {}, {})
    found_there = Subject(path, given, None, None) if isinstance(given, Predictions) else subject(path)
    diagnosis = diagnosis_of(found_there, split=split, bootstrap=replicates, seed=seed, confidence=confidence)
    return source_of(found_there, diagnosis)


def source_of(found: Subject, diagnosis: Diagnosis) -> Source:
    """What a path stands for, with its diagnosis."""
    folder = found.folder
    config = {} if folder is None else flat(read_config(folder))
    config = {k: v is not None if k == "encoders_from" else v for k, v in config.items() if k not in SEED_ONLY}
    summary = {} if folder is None else read_summary(folder)
    return Source(found.path, diagnosis, found.predictions.select(diagnosis.data.split), config, summary)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def group_by_seed(sources: Sequence[Source]) -> list[list[Source]]:
    """Groups of sources that differ only in their seed, in the order given; the same seed twice is no repetition."""
    groups: dict[tuple[str, int], list[Source]] = {}
    for source in sources:
        copy = 0
        while any(other.meta.get("seed") == source.meta.get("seed") for other in groups.get((source.kind, copy), [])):
            copy += 1
        groups.setdefault((source.kind, copy), []).append(source)
    return list(groups.values())


def labels(groups: Sequence[Sequence[Source]]) -> list[str]:
    """A short name of each row: method, fusion and rule where known, else the file; then what tells equal names apart.

    The fusion is named where the rows have several.
    """
    first = [group[0] for group in groups]
    several = len({source.meta.get("fusion") for source in first if source.meta.get("method")}) > 1
    names = [_name(source, several) for source in first]
    out = []
    for name, source in zip(names, first, strict=True):
        twins = [other for twin, other in zip(names, first, strict=True) if twin == name and other is not source]
        keys = [k for k in source.config if any(other.config.get(k) != source.config[k] for other in twins)]
        told = ", ".join(f"{k}={source.config[k]}" for k in keys)
        out.append(name if not twins else f"{name} ({told or source.path})")
    return out


def _name(source: Source, fusions: bool) -> str:
    meta = source.meta
    if meta.get("method"):
        fusion = f", {meta['fusion']}" if fusions and meta.get("fusion") else ""
        stored = f" + {meta['rule']}" if meta.get("rule") and meta["rule"] != meta.get("fusion") else ""
        return f"{meta['method']}{fusion}{stored}"
    in_folder = source.path.name == DIAGNOSIS and source.path.parent.name
    return in_folder or source.path.stem or str(source.path)


def _first(names: Sequence[str], groups: Sequence[Sequence[Source]], baseline: str) -> int:
    """The row that ``baseline`` names, by its label or by one of its paths."""
    for k, (name, group) in enumerate(zip(names, groups, strict=True)):
        if baseline == name or any(baseline in (str(s.path), s.path.name, s.path.stem) for s in group):
            return k
    raise UsageError(f"There is no row '{baseline}' to be the baseline.", did_you_mean(baseline, names))


def _entry(source: Source) -> Entry:
    found = source.diagnosis
    alone = found.accuracy.alone
    weak = min(alone, key=lambda m: alone[m].value) if len(alone) > 1 else None
    fused = found.calibration["fused"]
    last = source.summary.get("last", {})
    best = source.summary.get("optimistic")
    split = found.data.split
    return Entry(
        path=str(source.path),
        seed=source.meta.get("seed"),
        samples=found.data.samples,
        weak_modality=weak,
        figures={
            "accuracy": found.accuracy.fused,
            "nll": fused.nll,
            "ece": fused.ece,
            "weak_accuracy": None if weak is None else alone[weak],
            "index": found.index,
            "decision_gap": None if found.decision_gap is None else found.decision_gap.accuracy,
        },
        best_epoch=source.summary.get("best_epoch"),
        last=Epoch(epoch=last["epoch"], **last[split]) if split in last else None,
        optimistic=Epoch(epoch=best["epoch"], **best["test"]) if best and split == "test" else None,
        method=own_figures(source.path),
        tails={} if found.tails is None else found.tails.gradient_noise,
    )


def own_figures(path: Path) -> dict[str, float]:
    """What a run's method recorded besides its losses, means over the last epoch; nothing for anything else."""
    folder = run_folder(path)
    epochs = [] if folder is None else read_metrics(folder)
    return {k: v for k, v in epochs[-1]["train"].items() if not k.startswith("loss/")} if epochs else {}


def _row(label: str, group: Sequence[Source], test: PairedTest | None) -> Row:
    entries = [_entry(source) for source in group]
    weak = {entry.weak_modality for entry in entries}
    return Row(
        label=label,
        meta={k: v for k, v in group[0].meta.items() if k not in ("seed", "run")},
        entries=entries,
        figures={name: _over_seeds([e.figures[name] for e in entries]) for name in FIGURES},
        weak_modality=weak.pop() if len(weak) == 1 else " or ".join(sorted(str(m) for m in weak)),
        last=_over_seeds([_of_epoch(e.last) for e in entries]),
        optimistic=_over_seeds([_of_epoch(e.optimistic) for e in entries]),
        test=test,
    )


def _of_epoch(epoch: Epoch | None) -> Estimate | None:
    return None if epoch is None else Estimate(value=epoch.accuracy)


def _over_seeds(estimates: Sequence[Estimate | None]) -> Figure | None:
    """Mean and spread; None unless every seed has the figure."""
    if any(e is None for e in estimates):
        return None
    known = [e for e in estimates if e is not None]
    if len(known) == 1:
        return Figure(value=known[0].value, low=known[0].low, high=known[0].high)
    values = [e.value for e in known]
    return Figure(value=float(np.mean(values)), spread=float(np.std(values, ddof=1)))
