"""results.jsonl of a sweep: one line for each training run, with its configuration, its figures and whether it converged.

A run is marked where it did not converge: `diverged` (a loss that is not finite, or a validation accuracy that is not above
the share of the most frequent class), `still improving` (the last epoch is better on validation than all before it by more
than 1 pp, or 0.02 nats), or `pruned` (a trial that the search stopped).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from mmbal.config import Frozen
from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.errors import DataError
from mmbal.files import locked, parse_json, require_version
from mmbal.maths.arrays import log_softmax
from mmbal.predictions.format import Predictions
from mmbal.runs import RECORDS, prediction_file, read_config, read_environment, read_metrics, read_summary

RESULTS = RECORDS
STEP = {"accuracy": 0.01, "nll": 0.02}  # a last epoch that is better by more is no end
Status = Literal["converged", "still improving", "diverged", "pruned"]
Select = Literal["accuracy", "nll"]


class Record(Frozen):
    """One training run of a sweep."""

    schema_version: int = 1
    data: str
    variant: str
    kind: Literal["trial", "run"] = Field(description="a trial of the search, or a run of the study")
    number: int = Field(0, description="of a trial, from 0; trial 0 has the study's own values")
    seed: int
    params: dict[str, Any] = Field({}, description="what the search chose, by key of the configuration")
    store: str = Field(description="hash of the store")
    config: dict[str, Any] = Field(description="the whole configuration, resolved")
    figures: dict[str, dict[str, float]] = Field(
        {}, description="by split: accuracy, nll, calibrated_nll and alone/<modality>; a trial has no test figures"
    )
    curve: list[dict[str, float]] = Field([], description="validation accuracy and nll of each epoch")
    best_epoch: int | None = None
    seconds: float | None = None
    status: Status
    converged: bool
    why: str = ""

    def value(self, select: Select) -> float:
        """What the search maximises: validation accuracy, or minus the NLL after temperature scaling."""
        val = self.figures["val"]
        return val["accuracy"] if select == "accuracy" else -val["calibrated_nll"]


class Results:
    """The file, which several processes may append to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Record]:
        """The records, each run once; a last line cut short by a crash is left out. Raises DataError where one is broken."""
        if not self.path.is_file():
            return []
        found: dict[tuple[Any, ...], Record] = {}
        for number, line in enumerate(self.path.read_text(encoding="utf-8").split("\n")[:-1], start=1):
            where = f"Line {number} of {self.path}"
            try:
                given = parse_json(line, where)
                if isinstance(given, dict):
                    require_version(given, "schema_version", 1, where)
                record = Record.model_validate(given)
            except ValidationError as error:
                raise DataError(f"{where} is no record ({error.errors()[0]['msg']}).") from None
            found[record.data, record.variant, record.kind, record.number, record.seed] = record
        return list(found.values())

    def append(self, record: Record) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record.model_dump(mode="json"), allow_nan=False) + "\n"
        with locked(self.path, wait=True), self.path.open("ab+") as stream:
            size = stream.tell()
            stream.seek(max(0, size - 1))
            if stream.read(1) not in (b"", b"\n"):  # a line that a crash has cut short
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(line.encode())


def record_of(folder: Path, **known: Any) -> Record:
    """The record of a run's folder, finished or not; ``known`` are the fields that the folder does not hold."""
    config, summary = read_config(folder), read_summary(folder)
    curve = [{key: float(epoch["val"][key]) for key in ("accuracy", "nll")} for epoch in read_metrics(folder)]
    splits = ("val",) if known["kind"] == "trial" else ("val", "test")
    found = {s: figures(Predictions.load(f)) for s in splits if summary and (f := prediction_file(folder, s)).is_file()}
    if "status" not in known:
        chance = _chance(Predictions.load(prediction_file(folder, "val")))
        known["status"], known["why"] = judged(curve, found["val"]["accuracy"], chance, config["select"])
    return Record(
        seed=config["seed"],
        store=read_environment(folder)["store"]["hash"],
        config=config,
        figures=found,
        curve=curve,
        best_epoch=summary.get("best_epoch"),
        seconds=summary.get("seconds"),
        converged=known["status"] == "converged",
        **known,
    )


def figures(predictions: Predictions) -> dict[str, float]:
    """Accuracy, NLL, NLL after temperature scaling on the same rows, and the accuracy of each modality alone."""
    assert predictions.fused is not None
    labels, log_p = predictions.labels, log_softmax(predictions.fused, axis=-1)
    calibrated = log_softmax(inverse_temperature(log_p, labels) * log_p, axis=-1)
    rows = np.arange(len(labels))
    found = {
        "accuracy": float((log_p.argmax(axis=1) == labels).mean()),
        "nll": float(-log_p[rows, labels].mean()),
        "calibrated_nll": float(-calibrated[rows, labels].mean()),
    }
    for m, logits in predictions.logits.items():
        there = predictions.present.get(m, np.ones(len(labels), dtype=bool))
        if there.any():
            found[f"alone/{m}"] = float((logits.argmax(axis=1) == labels)[there].mean())
    return found


def judged(curve: Sequence[dict[str, float]], accuracy: float, chance: float, select: Select) -> tuple[Status, str]:
    """Whether a finished run converged, and why not."""
    if accuracy <= chance:
        return "diverged", f"validation accuracy {100 * accuracy:.1f} % is not above chance ({100 * chance:.1f} %)"
    values = [epoch[select] if select == "accuracy" else -epoch[select] for epoch in curve]
    if len(values) > 1 and (gain := values[-1] - max(values[:-1])) > STEP[select]:
        return "still improving", f"the last epoch is better than all before it by {gain:.3f} ({select} on validation)"
    return "converged", ""


def _chance(predictions: Predictions) -> float:
    return float(np.bincount(predictions.labels).max() / len(predictions))
