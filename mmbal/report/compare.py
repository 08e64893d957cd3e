"""Runs side by side: each figure with its spread, and whether the others differ from the first by more than chance.

Runs that differ only in their seed are one row. The first row is what the others are tested against, on the same
samples (mmbal/report/paired.py), with Holm's correction over all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.significance import holm
from mmbal.notebook import Content, Shown, plots_of, plotted
from mmbal.predictions.format import Predictions
from mmbal.predictions.format import Source as Given
from mmbal.progress import steps
from mmbal.report.paired import PairedTest, paired_test
from mmbal.report.render import FIGURES, conclusions, legend, table_of
from mmbal.report.sources import Source, Stated, group_by_seed, labels, own_figures, read_source, read_stated
from mmbal.runs import decided_by
from mmbal.text import plural

SCHEMA_VERSION = 1


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
        """The number of runs in the row."""
        return len(self.entries)


class Comparison(Frozen, Shown):
    """Models side by side: what :func:`compare` gives and `mmbal report --json` prints.

    ``rows`` has one entry for each model; runs that differ only in their seed are one row. The first row is what the others
    are tested against.
    """

    schema_version: int = SCHEMA_VERSION
    split: str
    confidence: float
    rows: list[Row]
    notes: list[str] = Field(description="what could not be computed or tested, and why")

    def shown(self) -> Content:
        """The table and what its columns mean, as a notebook shows them."""
        told = [*conclusions(self), *legend(self)]
        return Content(f"{self.split} split, {plural(len(self.rows), 'row')}", told, [table_of(self)])

    def plot(self, name: str = "accuracies", ax: Any = None, panel: str | None = None) -> Any:
        """Draw one of the pictures of :meth:`plots`; see :meth:`mmbal.diagnosis.Diagnosis.plot`."""
        return plotted(self, "comparison", name, ax, panel)

    @staticmethod
    def plots() -> list[str]:
        """The names that :meth:`plot` takes."""
        return plots_of("comparison")

    def relabelled(self, names: Mapping[str, str]) -> Comparison:
        """The same with other names of rows; raises UsageError where there is no such row."""
        _require(names, [row.label for row in self.rows])
        rows = [row.model_copy(update={"label": names.get(row.label, row.label)}) for row in self.rows]
        return self.model_copy(update={"rows": rows})


def compare(
    inputs: Iterable[Given] | Mapping[str, Given],
    split: str = "test",
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare models on one split; the first is what the others are tested against.

    ``inputs``: several runs, diagnoses, files of predictions or features, Predictions or mappings of arrays, or a mapping
    from the name of each to it. ``replicates``: of the bootstrap, drawn with ``seed``. ``confidence``: level of the
    intervals. Raises UsageError where there is nothing, or a path holds none of these; DataError where a file is broken.

    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> arrays = {"labels": labels, "logits_sound": sound, "logits_face": face, "fused": sound + 3 * face}
    >>> models = {"mine": arrays, "sound": arrays | {"fused": sound}}
    >>> {row.label: row.figures["accuracy"].value for row in mmbal.compare(models).rows}
    {'mine': 0.5, 'sound': 1.0}
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


def check_rows(paths: Sequence[Path], baseline: str | None, renamed: Iterable[str]) -> None:
    """Look names of rows up before anything is diagnosed; raises UsageError with the nearest where there is no such row."""
    groups = group_by_seed([read_stated(path) for path in paths])
    names = labels(groups)
    if baseline is not None:
        _first(names, groups, baseline)
    _require(renamed, names)


def _require(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"There is no row '{name}'.", did_you_mean(name, known))


def _first(names: Sequence[str], groups: Sequence[Sequence[Stated]], baseline: str) -> int:
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
