"""Runs side by side: each figure with its spread, and whether the others differ from the first by more than chance.

Runs that differ only in their seed are one row. The test against the first row is paired: both decide on the same
samples, and with several seeds the mean over seeds is compared. Its variance has two parts,

    var(d) = var_samples (bootstrap over samples or groups of the mean over seeds)  +  var_seeds / k,

the second from the k differences where both rows have the same seeds, else from both rows' own spread; the degrees of
freedom follow Welch and Satterthwaite. With one seed each only the first part is known: the test is then about these
two models, not about the methods. Holm's correction covers all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.stats import t as student

from mmbal.config import Config, read_yaml
from mmbal.data.predictions import Predictions
from mmbal.diagnosis import Diagnosis, diagnose
from mmbal.diagnosis.coalitions import correct, decision_of, log_likelihood
from mmbal.diagnosis.significance import Bootstrap, Estimate, holm, mcnemar
from mmbal.engine.evaluate import find_predictions, find_reference, run_folder
from mmbal.errors import DataError, UsageError
from mmbal.files import read_json

SCHEMA_VERSION = 1
FIGURES = ("accuracy", "nll", "ece", "weak_accuracy", "index", "decision_gap")
SEED_ONLY = ("seed", "data", "device")  # a run differs in these and is still the same experiment on the same store
NAMING = ("method", "fusion", "rule")  # parts of a label, where the producer gave them
UNNAMED = ("seed", "run", "producer", "store")  # no part of what tells two files of predictions apart


class Epoch(Config):
    """Figures of one epoch of a run."""

    epoch: int
    accuracy: float
    nll: float | None = None


class Entry(Config):
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


class Figure(Config):
    """A figure over the seeds of a row; with one seed ``low`` and ``high`` are its interval over samples."""

    mean: float
    spread: float | None = Field(None, description="standard deviation over seeds")
    low: float | None = None
    high: float | None = None


class PairedTest(Config):
    """The paired comparison with the first row; differences are this row minus the first."""

    samples: int
    accuracy: Estimate
    nll: Estimate
    p: float | None = Field(description="of equal accuracy, from the paired bootstrap and the spread over seeds")
    p_holm: float | None = Field(None, description="the same after Holm's correction over all rows")
    mcnemar: float | None = Field(None, description="McNemar's mid-p, where both rows are one run")


class Row(Config):
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


class Comparison(Config):
    """The whole document behind `mmbal report --json`."""

    schema_version: int = SCHEMA_VERSION
    split: str
    confidence: float
    rows: list[Row]
    notes: list[str] = Field(description="what could not be computed or tested, and why")


@dataclass(frozen=True)
class Source:
    """What stands behind one path given to the report."""

    path: Path
    diagnosis: Diagnosis
    predictions: Predictions | None  # of the split that is compared
    config: dict[str, Any]
    summary: dict[str, Any]

    @property
    def meta(self) -> dict[str, Any]:
        return self.diagnosis.data.meta

    @property
    def kind(self) -> str:
        """Text that is equal for runs that differ only by their seed, and unique where no seed is known."""
        seed = self.meta.get("seed")
        if seed is None:
            return str(self.path.resolve())
        told = {k: v for k, v in self.meta.items() if k not in UNNAMED}
        return repr((sorted(told.items(), key=str), self.meta.get("store"), sorted(self.config.items())))


def compare(
    paths: Iterable[str | Path], split: str = "test", replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compare runs, diagnoses or predictions files on one split; the first is what the others are tested against.

    Raises UsageError where there is nothing, or a path holds none of these; DataError where a file is broken.
    """
    return compare_sources(
        [read_source(p, split, replicates, confidence, seed) for p in paths], replicates, confidence, seed
    )


def compare_sources(
    sources: Sequence[Source], replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """The comparison of sources that were read already, all on the same split."""
    if not sources:
        raise UsageError("There is nothing to report.", "Give runs, diagnosis.json or predictions files.")
    members = group_by_seed(sources)
    notes: list[str] = []
    tests: list[PairedTest | None] = [None]
    for label, group in list(zip(labels(members), members, strict=True))[1:]:
        try:
            tests.append(paired_test(members[0], group, replicates, confidence, seed))
        except DataError as error:
            tests.append(None)
            notes.append(f"{label} is not tested against the first: {error.message}")
    known = [k for k, test in enumerate(tests) if test is not None and test.p is not None]
    for k, adjusted in zip(known, holm([_p(tests[k]) for k in known]), strict=True):
        tests[k] = tests[k].model_copy(update={"p_holm": float(adjusted)})  # type: ignore[union-attr]
    if any(test is not None and len(group) == 1 for test, group in zip(tests, members, strict=True)):
        notes.append("Rows of one seed: the test is about these very models, not about the methods behind them.")
    rows = [_row(label, group, test) for label, group, test in zip(labels(members), members, tests, strict=True)]
    return Comparison(split=sources[0].diagnosis.data.split, confidence=confidence, rows=rows, notes=notes)


def _p(test: PairedTest | None) -> float:
    assert test is not None
    assert test.p is not None
    return test.p


def read_source(
    path: str | Path, split: str = "test", replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Source:
    """A run folder, checkpoint, diagnosis.json or predictions file; diagnosed now where it was not."""
    path = Path(path)
    if path.suffix == ".json":
        found = Diagnosis.load(path)
        if found.data.split != split:
            raise UsageError(
                f"{path} is a diagnosis of the split '{found.data.split}', not of '{split}'.",
                f"Compare on --split {found.data.split}, or give the run itself.",
            )
        return Source(path, found, None, {}, {})
    everything = find_predictions(path)
    predictions = everything.select(split)
    folder = run_folder(path)
    diagnosis = None if folder is None else _stored(folder, split)
    if diagnosis is None:
        diagnosis = diagnose(
            everything,
            split=split,
            reference=find_reference(path),
            bootstrap=replicates,
            seed=seed,
            confidence=confidence,
        )
    config = _flat(read_yaml(folder / "config.yaml")) if folder and (folder / "config.yaml").is_file() else {}
    config = {k: v is not None if k == "encoders_from" else v for k, v in config.items() if k not in SEED_ONLY}
    summary = read_json(folder / "summary.json") if folder and (folder / "summary.json").is_file() else {}
    return Source(path, diagnosis, predictions, config, summary)


def _stored(folder: Path, split: str) -> Diagnosis | None:
    """diagnosis.json of a run, unless it is of another split or older than the predictions or the fitted rule."""
    file = folder / "diagnosis.json"
    inputs = [*(folder / "predictions").glob("*.npz"), *folder.glob("rule.json")]
    if not file.is_file() or file.stat().st_mtime < max(f.stat().st_mtime for f in inputs):
        return None
    found = Diagnosis.load(file)
    return found if found.data.split == split else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def group_by_seed(sources: Sequence[Source]) -> list[list[Source]]:
    """Sources that differ only in their seed together, in the order given; the same seed twice is no repetition."""
    groups: dict[tuple[str, int], list[Source]] = {}
    for source in sources:
        copy = 0
        while any(other.meta.get("seed") == source.meta.get("seed") for other in groups.get((source.kind, copy), [])):
            copy += 1
        groups.setdefault((source.kind, copy), []).append(source)
    return list(groups.values())


def labels(groups: Sequence[Sequence[Source]]) -> list[str]:
    """A short name of each row: method, fusion and rule where known, else the file; then what tells equal names apart."""
    first = [group[0] for group in groups]
    names = [_name(source) for source in first]
    out = []
    for name, source in zip(names, first, strict=True):
        twins = [other for twin, other in zip(names, first, strict=True) if twin == name and other is not source]
        keys = [k for k in source.config if any(other.config.get(k) != source.config[k] for other in twins)]
        told = ", ".join(f"{k}={source.config[k]}" for k in keys)
        out.append(name if not twins else f"{name} ({told or source.path})")
    return out


def _name(source: Source) -> str:
    if source.meta.get("method"):
        return " · ".join(str(source.meta[k]) for k in NAMING if source.meta.get(k))
    in_folder = source.path.name == "diagnosis.json" and source.path.parent.name
    return in_folder or source.path.stem or str(source.path)


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
    )


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
        return Figure(mean=known[0].value, low=known[0].low, high=known[0].high)
    values = [e.value for e in known]
    return Figure(mean=float(np.mean(values)), spread=float(np.std(values, ddof=1)))


def paired_test(
    first: Sequence[Source], other: Sequence[Source], replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> PairedTest:
    """``other`` minus ``first`` on the samples that all their runs share; see the module for the variance.

    Raises DataError where they can't be paired: no predictions, ids that repeat or do not meet, other labels.
    """
    a, b = _aligned(first, other)
    sample = a[0]
    bootstrap = Bootstrap.of(len(sample), sample.group, replicates, seed, confidence)
    seeds = [[source.meta.get("seed") for source in group] for group in (first, other)]
    orders = [sorted(range(len(s)), key=lambda k, s=s: str(s[k])) for s in seeds]  # type: ignore[misc]
    same_seeds = len(a) > 1 and [seeds[0][k] for k in orders[0]] == [seeds[1][k] for k in orders[1]]

    def difference(score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple[Estimate, float | None]:
        x = np.stack([score(decision_of(p).fused, p.labels) for p in a])
        y = np.stack([score(decision_of(p).fused, p.labels) for p in b])
        drawn = bootstrap.means(y.mean(axis=0) - x.mean(axis=0))
        if same_seeds:
            parts = [(y[orders[1]] - x[orders[0]]).mean(axis=1)]
        else:
            parts = [scores.mean(axis=1) for scores in (x, y) if len(scores) > 1]
        if not parts:
            return _some(bootstrap.estimate(drawn)), bootstrap.p_value(drawn)
        return _with_seeds(drawn, parts, len(sample), confidence)

    accuracy, p = difference(correct)
    nll, _ = difference(lambda logits, y: -log_likelihood(logits, y))
    single = len(a) == len(b) == 1
    right = [decision_of(p).fused.argmax(axis=1) == p.labels for p in (a[0], b[0])]
    return PairedTest(samples=len(sample), accuracy=accuracy, nll=nll, p=p, mcnemar=mcnemar(*right) if single else None)


def _some(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def _with_seeds(
    drawn: np.ndarray, parts: Sequence[np.ndarray], samples: int, confidence: float
) -> tuple[Estimate, float | None]:
    """Interval and p of the mean ``drawn[0]`` from the bootstrap's variance and that over seeds."""
    variances = [float(drawn[1:].var(ddof=1)), *(float(part.var(ddof=1)) / len(part) for part in parts)]
    freedom = [samples - 1, *(len(part) - 1 for part in parts)]
    total = sum(variances)
    value = float(drawn[0])
    if total == 0:
        return Estimate(value=value, low=value, high=value), 1.0 if value == 0 else 0.0
    df = total**2 / sum(v**2 / f for v, f in zip(variances, freedom, strict=True))
    margin = float(student.ppf((1 + confidence) / 2, df)) * total**0.5
    p = float(2 * student.sf(abs(value) / total**0.5, df))
    return Estimate(value=value, low=value - margin, high=value + margin), p


def _aligned(first: Sequence[Source], other: Sequence[Source]) -> tuple[list[Predictions], list[Predictions]]:
    """The rows of all runs whose ids they share, in one order."""
    tables = []
    for source in (*first, *other):
        if source.predictions is None:
            raise DataError(f"{source.path} is a diagnosis without predictions; give the run or the predictions file.")
        where = {name: row for row, name in enumerate(source.predictions.ids.tolist())}
        if len(where) < len(source.predictions):
            raise DataError(f"the ids of {source.path} repeat, so its samples can't be paired.")
        tables.append((source, source.predictions, where))
    shared = [name for name in tables[0][2] if all(name in where for _, _, where in tables)]
    if not shared:
        raise DataError("they have no sample in common (by id).")
    aligned = [p.take(np.array([where[name] for name in shared])) for _, p, where in tables]
    truth = [[p.classes[k] for k in p.labels] for p in aligned]
    for (source, _, _), names in zip(tables, truth, strict=True):
        if names != truth[0]:
            raise DataError(f"{source.path} gives other labels to the same ids than {tables[0][0].path}.")
    return aligned[: len(first)], aligned[len(first) :]
