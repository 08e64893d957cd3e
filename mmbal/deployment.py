"""A stored rule at work: found by a path, and applied to new predictions."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from mmbal.decision.base import Rule
from mmbal.decision.fitting import rule_from_json
from mmbal.decision.fused import FUSED, as_it_is, with_rule
from mmbal.errors import ConfigError, UsageError
from mmbal.files import read_json, write_text
from mmbal.maths.bootstrap import GAIN, Bootstrap, Estimate
from mmbal.maths.folds import groups_of
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Predictions
from mmbal.predictions.readers import Scores, predictions_from_csv
from mmbal.predictions.source import predictions_of
from mmbal.registry import rules
from mmbal.runs import RULE, run_folder
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, SHARE, plural, some

TABLES = (".csv", ".tsv", ".txt")
SHOWN = 20  # rows of the table in the terminal
FITTED_ON = ("train", "val", "calibration")  # splits on which a rule or a model is fitted: they judge none


def load_rule(path: str | os.PathLike[str]) -> Rule:
    """The rule that `mmbal calibrate` stored: its file, or the run, the checkpoint or the predictions that it stands beside.

    Raises UsageError where there is none, ConfigError where the file is none or is of another version.
    """
    path = Path(path)
    folder = run_folder(path)
    if folder is not None:
        file = folder / RULE
    else:
        file = path if path.suffix == ".json" else path.with_name(f"{path.stem}.rule.json")
    if file != path and not file.is_file():
        raise UsageError(f"{path} has no stored rule: {file.name} is not there.", f"Fit one: mmbal calibrate {path}")
    return rule_from_json(read_json(file))


@dataclass(frozen=True)
class Applied:
    """New samples decided by a rule; what it gains where their labels are known."""

    rule: str
    predictions: Predictions  # under the rule
    before: Estimate | None = None  # accuracy of the decision as it is
    accuracy: Estimate | None = None  # accuracy under the rule
    gain: Estimate | None = None
    judged: int = 0  # samples that the three figures are of

    def probabilities(self) -> np.ndarray:
        """``(N, C)``."""
        fused = self.predictions.fused
        assert fused is not None
        return np.exp(fused)

    def sentence(self) -> str:
        """What was decided, and how often it is right before and after."""
        n, mask = len(self.predictions), self.predictions.present_mask()
        told = f"The rule '{self.rule}' decided {plural(n, 'sample')}"
        if not mask.all():
            told += f", {int((~mask.all(axis=1)).sum())} of them with a missing modality"
        if self.before is None or self.accuracy is None or self.gain is None:
            return told + "."
        which = "" if self.judged == n else f" of the {plural(self.judged, 'sample')} that no rule is fitted on"
        return (
            f"{told}. It is right in {SHARE.text(self.accuracy)}{which}, the decision as it is in "
            f"{SHARE.text(self.before)}: {DIFFERENCE.text(self.gain)}."
        )

    def table(self, most: int = SHOWN) -> Table:
        """The first rows: sample, decision, probability."""
        p = self.probabilities()[:most]
        shown = [self.predictions.classes[k] for k in p.argmax(axis=1)]
        columns = [
            Column("sample", self.predictions.ids[:most].tolist()),
            Column("decision", shown, left=True),
            Column("probability", p.max(axis=1).tolist(), SHARE),
        ]
        more = len(self.predictions) - most
        return Table.of(columns, caption=f"{more} more; --out or --json has all." if more > 0 else "")

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        p, classes = self.probabilities(), self.predictions.classes
        rows = [
            {"id": sample, "decision": classes[k], "probabilities": dict(zip(classes, own, strict=True))}
            for sample, k, own in zip(self.predictions.ids.tolist(), p.argmax(axis=1), p.tolist(), strict=True)
        ]
        figures = {"fused": self.before, "accuracy": self.accuracy, "gain": self.gain, "judged": self.judged}
        return dict(to_jsonable_python({"rule": self.rule, "sentence": self.sentence(), **figures, "rows": rows}))

    def save(self, out: Path) -> None:
        """Write a predictions file (.npz) or a table (.csv) with the decision and the probability of each class.

        Raises UsageError for another ending.
        """
        check_ending(out)
        if out.suffix == ".npz":
            replace(self.predictions, features={}, weight={}, bias=None).save(out)
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        classes = self.predictions.classes
        writer.writerow(["id", "decision", *(f"fused:{c}" for c in classes)])
        for sample, own in zip(self.predictions.ids.tolist(), self.probabilities(), strict=True):
            writer.writerow([sample, classes[int(own.argmax())], *(f"{p:.6g}" for p in own)])
        write_text(out, text.getvalue())


def check_ending(out: Path | None) -> None:
    """Raise UsageError where decisions can't be written to ``out``; None writes nothing."""
    if out is not None and out.suffix not in (".npz", ".csv"):
        raise UsageError(f"--out {out} is neither .npz nor .csv.", "Give it one of these endings.")


def apply_rule(rule: Rule, new: Any, scores: Scores = "auto") -> Applied:
    """Decide new samples by a fitted rule: predictions, a mapping, a DataFrame, or the path of a predictions file or CSV.

    Labels may be missing. A file without labels and without names of classes has those of the rule, in their order.
    ``scores``: the form of the scores of a CSV. Where there are labels, the accuracy before and after is that of the samples
    outside the splits that rules are fitted on. Raises ConfigError where classes or modalities are not those of the fit,
    UsageError where there is no such file, DataError where it holds no scores.

    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> rule = mmbal.fit_rule({"labels": labels, "logits_sound": sound, "logits_face": face}, "pool")
    >>> mmbal.apply_rule(rule, {"logits_sound": sound[:2], "logits_face": face[:2]}).probabilities().argmax(axis=1)
    array([0, 1])
    """
    if isinstance(new, (str, os.PathLike)) and Path(new).suffix.lower() in TABLES:
        found = predictions_from_csv(Path(new), scores, unlabelled=True)
    else:
        found = predictions_of(new, unlabelled=True)
    numbered = tuple(map(str, range(len(rule.classes))))
    if not found.labelled and found.classes == numbered:
        found = replace(found, classes=rule.classes)
    parts = [m for m in rule.modalities if m != FUSED]
    unknown = [m for m in found.modalities if m not in parts]
    if parts and unknown:  # a rule of the model's decision alone takes any
        raise ConfigError(
            f"The rule was fitted for {some(parts)}, but there is also a modality '{unknown[0]}'.",
            "Leave it out, or fit the rule again on predictions that have it.",
        )
    name = rules.name_of(type(rule))
    decided = with_rule(found, rule, name)
    if not found.labelled:
        return Applied(name, decided)
    held_out = np.flatnonzero(~np.isin(found.split, FITTED_ON))
    if not len(held_out):
        return Applied(name, decided)
    own = (found.unruled or found).take(held_out)
    assert decided.fused is not None
    right = [correct(log_p, own.labels) for log_p in (as_it_is(own), decided.fused[held_out])]
    boot = Bootstrap.of(len(own), groups_of(own.group))
    before, after = (boot.mean(each) for each in right)
    return Applied(name, decided, before, after, boot.gain(right[1] - right[0], bounds=GAIN), len(own))
