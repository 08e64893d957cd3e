"""The folder of a run: the names of its files, what they hold, and the way from a path to the decisions behind it.

A run's decisions lie in ``predictions/<split>.npz`` as the model makes them. A rule that `mmbal calibrate` stored has
its own decisions beside them, in ``predictions/rule_<split>.npz``: on the rows that it was fitted on they are
cross-fitted, so no row is judged by a rule that was fitted on it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.config import read_yaml
from mmbal.data.store.store import Store
from mmbal.errors import DataError, UsageError
from mmbal.files import read_json, read_json_lines, require_version, sha256, write_json
from mmbal.predictions.format import Predictions, Source
from mmbal.predictions.source import predictions_of

FORMAT = 1  # of the files in a run's folder that have no version of their own; env.json names it
CONFIG = "config.yaml"
ENVIRONMENT = "env.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
CHECKPOINT = "checkpoint.pt"
LAST = "last.pt"
WITHIN = "within.pt"  # the state within the epoch that has begun, until it ends
FAILED = "failed.pt"  # the model when a number was not finite
RULE = "rule.json"
RULES = "rules.json"
PREDICTIONS = "predictions"
TAILS = "tails.json"
DIAGNOSIS = "diagnosis.json"
CARD = "CARD.md"
PAGE = "report.html"

SPLITS = ("val", "test")  # that a run keeps its decisions on
UNDER_RULE = "rule_"  # prefix of the decisions under a rule that was stored after training
TRAIN = "train"  # kinds of runs, by the command that makes them
PRETRAIN = "pretrain"  # separately trained encoders
IMPORT = "import"
RECORDS = "results.jsonl"  # of a sweep, a line for each training
RESULTS = (SUMMARY, DIAGNOSIS, RULES, CARD, PAGE)  # what a finished run has


def run_folder(path: str | Path) -> Path | None:
    """The run folder that ``path`` is, or whose checkpoint it is; None for anything else."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    return folder if (folder / CONFIG).is_file() and (path.is_dir() or path.suffix == ".pt") else None


def require_run(path: str | Path) -> Path:
    """``path`` as a run folder; raises UsageError where it is none."""
    folder = Path(path)
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} is not a run folder: it has no {CONFIG}.", "`mmbal train` makes one.")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """config.yaml of a run, as plain values."""
    return read_yaml(folder / CONFIG)


def read_environment(folder: Path) -> dict[str, Any]:
    """env.json of a run: its kind, its store, versions, machine and seed. Raises DataError for a run of a newer mmbal."""
    found: dict[str, Any] = read_json(folder / ENVIRONMENT)
    require_version(found, "format", FORMAT, f"The run {folder}")
    return found


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs recorded so far; a last line cut short by a crash is left out."""
    file = folder / METRICS
    if not file.is_file():
        return []
    return read_json_lines(file)


def finished(folder: Path) -> bool:
    """Whether the run came to its end."""
    return (folder / SUMMARY).is_file()


def read_summary(folder: Path) -> dict[str, Any]:
    """summary.json of a finished run; empty for a run that has not come to its end."""
    return read_json(folder / SUMMARY) if finished(folder) else {}


def open_store(folder: Path | None) -> Store | None:
    """The store that a run was trained on, where it still lies there unchanged."""
    if folder is None or not (folder / ENVIRONMENT).is_file():
        return None
    known = read_environment(folder).get("store")
    if not isinstance(known, dict) or not all(isinstance(known.get(key), str) for key in ("path", "hash")):
        raise DataError(f"{folder / ENVIRONMENT} does not name the store of the run.", "Is the file damaged?")
    if not os.path.isfile(Path(known["path"]) / "meta.json"):  # unlike Path.is_file it raises nothing for an odd path
        return None
    found = Store.open(known["path"])
    return found if found.hash == known["hash"] else None


def prediction_file(folder: Path, split: str, prefix: str = "") -> Path:
    """Where a run keeps its decisions on a split: of the best epoch, of the last (``last_``), or under a stored rule."""
    return folder / PREDICTIONS / f"{prefix}{split}.npz"


def forget_results(folder: Path) -> None:
    """Remove what only a finished run has, its stored rule included, before it is trained further."""
    for name in RESULTS:
        (folder / name).unlink(missing_ok=True)
    forget_rule(folder)


# The stored rule


def keep_rule(folder: Path, stored: Mapping[str, Any], decided: Mapping[str, Predictions]) -> None:
    """Write a rule (as JSON values) and the decisions of each split under it; rule.json comes last, when all is there.

    ``decided`` is empty for the rule of a fusion, under which the run's own predictions stand already.
    """
    forget_rule(folder)
    for split, found in decided.items():
        replace(found, features={}, weight={}, bias=None).save(prediction_file(folder, split, UNDER_RULE))
    write_json(folder / RULE, stored)


def forget_rule(folder: Path) -> None:
    """Remove the stored rule and the decisions under it; the run then decides as it was trained."""
    (folder / RULE).unlink(missing_ok=True)
    for split in SPLITS:
        prediction_file(folder, split, UNDER_RULE).unlink(missing_ok=True)


def decided_by(rule: str | None) -> str:
    """The sentence that every command prints about the stored rule."""
    return "Decided by the model as it is." if rule is None else f"Decided by the stored rule '{rule}'."


def _under_rule(folder: Path, split: str, found: Predictions, stored: Mapping[str, Any]) -> Predictions:
    file, name = prediction_file(folder, split, UNDER_RULE), str(stored["name"])
    if file.is_file():
        own = Predictions.load(file)
        if not np.array_equal(own.ids, found.ids):
            raise DataError(f"{file} holds other samples than {prediction_file(folder, split)}.", "Calibrate again.")
        return replace(
            found,
            fused=own.fused,
            contribution=own.contribution,
            subsets=own.subsets,
            shapley={},
            baselines={},
            weights=own.weights,
            unruled=found,
            meta=found.meta | {"rule": name},
        )
    if found.meta.get("rule") == name:  # the rule of the fusion itself
        return found
    from mmbal.decision import rule_from_json
    from mmbal.decision.fitting import cross_ruled
    from mmbal.decision.fused import with_rule

    # a run of mmbal 0.1.0, which stored the rule alone, fitted on the validation split
    if split == "val":
        return cross_ruled(found, name)
    return with_rule(found, rule_from_json(stored, found.classes), name)


# From a path to what is to be judged


@dataclass(frozen=True)
class Reference:
    """Predictions of separately trained encoders, and where they come from."""

    name: str
    predictions: Predictions


@dataclass(frozen=True)
class Subject:
    """What a path on the command line stands for: decisions, what to compare them with, and the folder of a run."""

    path: Path
    predictions: Predictions
    reference: Reference | None
    folder: Path | None

    def fingerprint(self) -> str | None:
        """A hash of all files that a diagnosis of this run follows from; None where there is no run."""
        if self.folder is None:
            return None
        digest = hashlib.sha256(_fingerprint(self.folder).encode())
        if self.reference is not None:
            other = run_folder(self.reference.name)
            digest.update((sha256(Path(self.reference.name)) if other is None else _fingerprint(other)).encode())
        return digest.hexdigest()[:16]


def _fingerprint(folder: Path) -> str:
    files = [folder / RULE, folder / TAILS]
    files += [prediction_file(folder, split, prefix) for split in SPLITS for prefix in ("", UNDER_RULE)]
    return " ".join(sha256(file) if file.is_file() else "-" for file in files)


def subject(path: str | Path, reference: str | Path | None = None, *, unlabelled: bool = False) -> Subject:
    """What `mmbal diagnose PATH`, `report` and `mmbal.diagnose` judge: a run, a checkpoint, a predictions or feature file.

    ``reference``: separately trained encoders, a path of the same kinds; of a run it is found by
    :func:`find_reference` where it is not given. ``unlabelled``: whether a predictions file may have no labels.
    Raises UsageError where there is nothing to read, DataError where a file is broken.
    """
    path = Path(path)
    if reference is not None:
        found: Reference | None = Reference(str(reference), read(Path(reference), ruled=False))
    else:
        found = find_reference(path)
    return Subject(path, read(path, unlabelled=unlabelled), found, run_folder(path))


def read(value: Source, *, ruled: bool = True, unlabelled: bool = False) -> Predictions:
    """What :func:`predictions_of` takes, or the path of a run or a checkpoint."""
    if not isinstance(value, (str, os.PathLike)):
        return predictions_of(value, unlabelled=unlabelled)
    return find_predictions(Path(value), ruled=ruled, unlabelled=unlabelled)


def find_predictions(path: str | Path, *, ruled: bool = True, unlabelled: bool = False) -> Predictions:
    """The Predictions of all splits, from a run folder, a checkpoint in one, or a file of predictions or features.

    A rule that is stored with the run decides, unless ``ruled`` is false: then the decisions are those of the model as
    it was trained. Rows that the rule was fitted on have cross-fitted decisions. ``unlabelled``: whether a predictions file
    may have no labels. Raises UsageError where there are no predictions, DataError where a file is broken.

    >>> np.savez("mine.npz", labels=[0, 1], logits_sound=[[2, 0], [0, 1]], logits_face=[[0, 1], [0, 2]])
    >>> mmbal.load("mine.npz").modalities
    ('sound', 'face')
    """
    path = Path(path)
    folder = run_folder(path)
    if folder is None:
        if path.suffix == ".pt" and path.is_file():
            raise UsageError(
                f"{path} is not in a run folder, so it has no predictions.",
                "Give the run folder, or make predictions from your model: docs/your-model.md.",
            )
        if path.is_dir():
            require_run(path)
        return predictions_of(path, unlabelled=unlabelled)
    if (folder / ENVIRONMENT).is_file():
        read_environment(folder)  # refuses a run of a newer mmbal
    parts = {s: Predictions.load(file) for s in SPLITS if (file := prediction_file(folder, s)).is_file()}
    if not parts:
        raise UsageError(f"{folder} has no predictions yet.", f"Finish it: mmbal train --resume {folder}")
    if ruled and (folder / RULE).is_file():
        stored = read_json(folder / RULE)
        parts = {split: _under_rule(folder, split, found, stored) for split, found in parts.items()}
    joined = Predictions.concatenate(list(parts.values()))
    return replace(joined, meta=joined.meta | {"run": str(folder)})


def find_reference(path: str | Path) -> Reference | None:
    """The separately trained encoders that a run is compared with; None where there are none, or ``path`` is no run.

    They are the run of `mmbal pretrain` that it started from (``encoders_from``); else, of the runs of `mmbal pretrain`
    beside it that were made on the same store, the one that ended last. A rule stored with that run does not count.
    """
    folder = run_folder(path)
    if folder is None or not (folder / ENVIRONMENT).is_file():
        return None
    own = read_environment(folder)
    if own["kind"] == PRETRAIN:
        return None
    named = read_config(folder).get("encoders_from")
    beside = sorted(folder.parent.glob(f"*/{SUMMARY}"), key=lambda file: (file.stat().st_mtime_ns, str(file)))
    candidates = [file.parent for file in reversed(beside)]
    for candidate in [*([started_from(folder, named)] if named else []), *candidates]:
        if finished(candidate) and _is_reference(candidate, own["store"]["hash"]):
            return Reference(str(candidate), find_predictions(candidate, ruled=False))
    return None


def _is_reference(folder: Path, store: str) -> bool:
    """Whether a run has the separately trained encoders of a store; one of a newer mmbal is none that can be read."""
    if not (folder / ENVIRONMENT).is_file():
        return False
    try:
        found = read_environment(folder)
    except DataError:
        return False
    return bool(found["kind"] == PRETRAIN and found["store"]["hash"] == store)


def started_from(folder: Path, named: str) -> Path:
    """A path of a run's configuration, which is relative to the folder in which the command was given."""
    return Path(read_environment(folder).get("directory", "")) / named
