"""What the paths of a report hold: each diagnosed and with what its run states, grouped by seed, and named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmbal.diagnosis import Diagnosis
from mmbal.diagnosis.stored import diagnosis_of
from mmbal.errors import UsageError
from mmbal.predictions.format import Predictions
from mmbal.predictions.format import Source as Given
from mmbal.predictions.source import predictions_of
from mmbal.runs import DIAGNOSIS, Subject, read_config, read_metrics, read_summary, run_folder, subject

SEED_ONLY = ("seed", "data", "device")  # a run differs in these and is still the same experiment on the same store
UNTOLD = ("seed", "run", "producer")  # two experiments never differ by these alone
S = TypeVar("S", bound="Stated")


@dataclass(frozen=True)
class Stated:
    """What one path states of itself, by which it is grouped and named."""

    path: Path
    meta: dict[str, Any]
    config: dict[str, Any]

    @property
    def kind(self) -> str:
        """Text that is equal for runs that differ only by their seed, and unique where no seed is known."""
        if self.meta.get("seed") is None:
            return str(self.path.resolve())
        told = {k: v for k, v in self.meta.items() if k not in UNTOLD}
        return repr((sorted(told.items()), sorted(self.config.items())))


@dataclass(frozen=True)
class Source(Stated):
    """What one path of the report holds."""

    diagnosis: Diagnosis
    predictions: Predictions | None  # of the split that is compared
    summary: dict[str, Any]

    @property
    def folder(self) -> Path | None:
        """The folder of the run, where the path is one."""
        return run_folder(self.path)


def read_stated(path: Path) -> Stated:
    """What a path states of itself, which takes no diagnosis; raises as :func:`read_source` does."""
    if path.suffix == ".json":
        return Stated(path, Diagnosis.load(path).data.meta, {})
    found = subject(path)
    return Stated(path, found.predictions.meta, _configured(found.folder))


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
        return Source(path, kept.data.meta, {}, kept, None, {})
    found_there = Subject(path, given, None, None) if isinstance(given, Predictions) else subject(path)
    diagnosis = diagnosis_of(found_there, split=split, bootstrap=replicates, seed=seed, confidence=confidence)
    return source_of(found_there, diagnosis)


def source_of(found: Subject, diagnosis: Diagnosis) -> Source:
    """What a path stands for, with its diagnosis."""
    meta, config = diagnosis.data.meta, _configured(found.folder)
    summary = {} if found.folder is None else read_summary(found.folder)
    return Source(found.path, meta, config, diagnosis, found.predictions.select(diagnosis.data.split), summary)


def _configured(folder: Path | None) -> dict[str, Any]:
    """The configuration of a run, as far as two experiments differ by it; nothing where there is no run."""
    config = {} if folder is None else flat(read_config(folder))
    return {k: v is not None if k == "encoders_from" else v for k, v in config.items() if k not in SEED_ONLY}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def group_by_seed(sources: Sequence[S]) -> list[list[S]]:
    """Groups of sources that differ only in their seed, in the order given; the same seed twice is no repetition."""
    groups: dict[tuple[str, int], list[S]] = {}
    for source in sources:
        copy = 0
        while any(other.meta.get("seed") == source.meta.get("seed") for other in groups.get((source.kind, copy), [])):
            copy += 1
        groups.setdefault((source.kind, copy), []).append(source)
    return list(groups.values())


def labels(groups: Sequence[Sequence[Stated]]) -> list[str]:
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


def _name(source: Stated, fusions: bool) -> str:
    meta = source.meta
    if meta.get("method"):
        fusion = f", {meta['fusion']}" if fusions and meta.get("fusion") else ""
        stored = f" + {meta['rule']}" if meta.get("rule") and meta["rule"] != meta.get("fusion") else ""
        return f"{meta['method']}{fusion}{stored}"
    in_folder = source.path.name == DIAGNOSIS and source.path.parent.name
    return in_folder or source.path.stem or str(source.path)


def own_figures(path: Path) -> dict[str, float]:
    """What a run's method recorded besides its losses, means over the last epoch; nothing for anything else."""
    folder = run_folder(path)
    epochs = [] if folder is None else read_metrics(folder)
    return {k: v for k, v in epochs[-1]["train"].items() if not k.startswith("loss/")} if epochs else {}
