"""Two or more diagnoses side by side: every figure they share, and its difference to the first with an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import correct
from mmbal.diagnosis.conditions import figures_of
from mmbal.diagnosis.document import SECTIONS, Diagnosis
from mmbal.diagnosis.examine import Examination, choose
from mmbal.diagnosis.schema import Estimates
from mmbal.errors import DataError, UsageError
from mmbal.maths.significance import mcnemar
from mmbal.predictions.format import Predictions, Source
from mmbal.predictions.pairing import shared_rows
from mmbal.progress import steps
from mmbal.runs import Subject, read
from mmbal.tables import Column, Table
from mmbal.text import p_value, signed

LEAST_SHARED = 0.5  # of the smaller one's samples must be in all, or the comparison is not paired


class Difference(Frozen):
    """One diagnosis less the first."""

    figures: Estimates = Field(description="path of a figure in the diagnosis -> difference")
    mcnemar: float | None = Field(description="mid-p of equal accuracy; null where the samples are not the same")


class SideBySide(Frozen):
    """Diagnoses by name, and the differences of all but the first to the first."""

    schema_version: int = 1
    paired: bool = Field(description="whether all were diagnosed on the same samples")
    samples: int | None = Field(description="how many those are")
    diagnoses: dict[str, Diagnosis]
    differences: dict[str, Difference]

    def table(self) -> Table:
        """One row for each figure and one column for each diagnosis, with the differences to the first."""
        first = next(iter(self.diagnoses.values()))
        known = {name: figures_of(d) for name, d in self.diagnoses.items()}
        shown = {path: said for section in SECTIONS for path, said in section.compared(first).items()}
        shown = {path: said for path, said in shown.items() if any(path in figures for figures in known.values())}
        columns = [Column("", [label for label, _ in shown.values()])]
        for name, figures in known.items():
            values = [form.text(figures[p][0]) if p in figures else None for p, (_, form) in shown.items()]
            columns.append(Column(Path(name).name if Path(name).is_dir() else Path(name).stem, values))
            if name in self.differences:
                change = self.differences[name].figures
                told = [signed(form).text(change[p]) if p in change else None for p, (_, form) in shown.items()]
                columns.append(Column("difference", told, drop=1))
        how = (
            f"Paired on {self.samples} samples."
            if self.paired
            else "The samples differ, so the intervals are not paired."
        )
        return Table.of(columns, caption=how)

    def conclusions(self) -> list[str]:
        """Whether each model is as accurate as the first, where the samples are the same."""
        return [
            f"{name} against the first: McNemar's p of equal accuracy {p_value(difference.mcnemar)}"
            for name, difference in self.differences.items()
            if difference.mcnemar is not None
        ]


def compare_diagnoses(
    inputs: Mapping[str, Source | Subject],
    *,
    split: str = "test",
    human: bool = False,
    rule: str = "adaptive",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> SideBySide:
    """Diagnose each of ``inputs`` (name -> predictions, or what a path stands for) and compare them with the first.

    Where at least half of the smallest one's ids are in all, with the same labels, all are diagnosed on those samples
    and the intervals are paired; otherwise each on its own, and the intervals are of independent samples.
    Raises UsageError where there are fewer than two.
    """
    if len(inputs) < 2:
        raise UsageError("A comparison needs at least two diagnoses.")
    subjects = {n: x if isinstance(x, Subject) else Subject(Path(n), read(x), None, None) for n, x in inputs.items()}
    for one in subjects.values():
        one.predictions.require_plausible()
        if not one.predictions.labelled:
            raise UsageError(
                f"{one.path} has no labels.", "Compare it with an earlier diagnosis: --baseline diagnosis.json."
            )
    chosen = {name: choose(s.predictions, split) for name, s in subjects.items()}
    shared = _shared([p for p, _ in chosen.values()])
    examinations, diagnoses = {}, {}
    for k, (name, (rows, calibration)) in steps(list(enumerate(chosen.items()))):
        if shared is not None:
            rows = replace(rows.take(shared[k]), group=next(iter(chosen.values()))[0].take(shared[0]).group)
        # replicates of different samples must not be drawn alike
        own_seed = seed if shared is not None else seed + k
        own = subjects[name]
        reference = own.reference
        examinations[name] = Examination.of(
            rows,
            calibration,
            rule,
            bootstrap,
            own_seed,
            confidence,
            reference=None if reference is None else reference.predictions,
            human=human,
            run=own.folder,
        )
        diagnoses[name] = examinations[name].report(split, name, None if reference is None else reference.name)
    first, *others = examinations
    return SideBySide(
        paired=shared is not None,
        samples=None if shared is None else len(shared[0]),
        diagnoses=diagnoses,
        differences={n: _difference(examinations[n], examinations[first], shared is not None) for n in others},
    )


def _shared(predictions: list[Predictions]) -> list[np.ndarray] | None:
    """For each, the rows of the samples that all have, in the order of the first; None where they can't be paired."""
    try:
        rows = shared_rows(predictions)
    except DataError:
        return None
    same_classes = all(p.classes == predictions[0].classes for p in predictions)
    few = len(rows[0]) < LEAST_SHARED * min(len(p) for p in predictions)
    return None if few or not same_classes else rows


def _difference(this: Examination, first: Examination, paired: bool) -> Difference:
    boot = this.figures.boot
    figures = {}
    for path, replicates in this.figures.replicates.items():
        if path in first.figures.replicates:
            estimate = boot.estimate(replicates - first.figures.replicates[path])
            if estimate is not None:
                figures[path] = estimate
    right = [correct(e.decision.fused, e.predictions.labels) == 1 for e in (this, first)]
    return Difference(figures=figures, mcnemar=mcnemar(*right) if paired else None)
