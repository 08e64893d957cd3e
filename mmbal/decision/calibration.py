"""Fits a decision rule on the calibration split, compares it with the others, and says whether to store it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from mmbal.decision.base import Rule
from mmbal.decision.calibration_split import sparse, unlike
from mmbal.decision.comparison import COMPARED, Comparison, at_least_as_good, classes_table, gain_of, rules_table
from mmbal.decision.fitting import fit_and_cross_fit, fit_rule
from mmbal.decision.fused import FUSED, stated_decision
from mmbal.decision.linear import too_large
from mmbal.errors import UsageError
from mmbal.maths.folds import groups_of
from mmbal.predictions.format import Source
from mmbal.predictions.source import predictions_of
from mmbal.progress import portion
from mmbal.tables import Table
from mmbal.text import DIFFERENCE
from mmbal.text import SHARE as SHARES

LEVEL = 0.05  # of the tests by class, after Holm's correction


@dataclass(frozen=True)
class Calibration:
    """A fitted rule and how all rules compare: what :func:`calibrate` gives.

    ``rows`` are cross-fitted on ``split``, ``test`` is judged on the test split. Accuracies are shares, likelihoods in nats.
    """

    rule: Rule
    name: str
    split: str
    n: int
    folds: int
    best: str  # the modality that is best alone on the calibration rows
    stated: bool  # whether the predictions state a fused decision; if not, the plain sum is the decision as it is
    rows: list[dict[str, Any]]
    classes: list[dict[str, Any]]  # the fitted rule against ``fused``, class by class
    test: list[dict[str, Any]] | None
    test_classes: list[dict[str, Any]] | None
    n_test: int | None
    protect: float | None = None  # pp that any class may lose, where a bound is set
    warning: str = (
        ""  # why the calibration rows may not be like the test rows, and which rules are left out; else empty
    )

    def worth_storing(self) -> tuple[bool, str]:
        """Whether the fitted rule is shown to be at least as good as ``fused`` by cross-fitting, and the reason."""
        return at_least_as_good(next(row for row in self.rows if row["rule"] == self.name))

    def sentence(self) -> str:
        """What the decision as it is, the plain sum, the best single modality and the fitted rule give, in words."""
        table, where = (self.rows, f"cross-fitted on {self.n} samples of '{self.split}'")
        if self.test is not None:
            table, where = self.test, f"on {self.n_test} samples of 'test'"
        by_name = {row["rule"]: row for row in table}
        right = {name: SHARES.text(row["accuracy"]) for name, row in by_name.items()}
        gain = by_name[self.name]["accuracy_gain"]
        verdict = {1: "better", -1: "worse", 0: "no clear difference"}[gain.sign]
        start = (
            f"The decision as it is (fused) is right in {right[FUSED]}, the plain sum in {right['sum']}"
            if self.stated
            else f"The file has no fused decision, so the plain sum is the decision as it is: right in {right[FUSED]}"
        )
        return (
            f"{start}, the best single modality ({self.best}) in {right['best']}, the fitted layer ({self.name}) in "
            f"{right[self.name]}, {where}. Against the decision as it is that is {DIFFERENCE.text(gain)}: {verdict}."
        )

    def losers(self) -> str:
        """The classes that lose significantly under the fitted rule, in words; empty where there are none."""
        table = self.classes if self.test_classes is None else self.test_classes
        lost = [row for row in table if row["gain"].value < 0 and row["p_holm"] < LEVEL]
        if not lost:
            return ""
        each = ", ".join(f"{row['class']} {DIFFERENCE.text(row['gain'])}" for row in sorted(lost, key=gain_of))
        return f"Against the decision as it is the fitted layer loses accuracy in {each}."

    def tables(self) -> list[Table]:
        """The rules side by side and the fitted one class by class: cross-fitted, and on the test split where requested."""
        title = f"Cross-fitted on the {self.n} samples of '{self.split}', {self.folds} folds"
        found = [rules_table(self.rows, self.name, title), classes_table(self.classes, self.name)]
        if self.test is not None and self.test_classes is not None:
            title = f"Fitted on '{self.split}', judged on the {self.n_test} samples of 'test'"
            found += [rules_table(self.test, self.name, title), classes_table(self.test_classes, self.name)]
        return found

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        shown, reason = self.worth_storing()
        return {
            "schema_version": 1,
            "rule": self.name,
            "split": self.split,
            "samples": self.n,
            "folds": self.folds,
            "best_modality": self.best,
            "reference": "fused" if self.stated else "the plain sum, since there is no fused decision",
            "protect": self.protect,
            "cross_fitted": to_jsonable_python(self.rows),
            "classes": to_jsonable_python(self.classes),
            "test": to_jsonable_python(self.test),
            "test_classes": to_jsonable_python(self.test_classes),
            "test_samples": self.n_test,
            "sentence": self.sentence(),
            "losers": self.losers(),
            "warning": self.warning,
            "at_least_as_good": shown,
            "reason": reason,
            "explanation": self.rule.explain(),
        }


def calibrate(
    predictions: Source,
    rule: str = "adaptive",
    split: str = "calibration",
    test: bool = False,
    folds: int = 5,
    seed: int = 0,
    names: Sequence[str] = COMPARED,
    protect: float | None = None,
) -> Calibration:
    """Fit ``rule`` on a split, and compare rules on it by cross-fitting; on the test split only where ``test`` is true.

    ``split``: held-out samples; ``val`` stands for ``calibration`` where only that is there. ``folds`` of the
    cross-fitting and the replicates of the intervals are drawn with ``seed``. ``names``: the rules to compare with.
    ``protect``: accuracy in pp that any class may lose against the decision as it is (rule ``adaptive``). Raises
    UsageError for an unknown rule, where the split is not there, or where samples of the test split would judge a rule
    fitted on them; ConfigError where ``protect`` is given for a rule that does not have it; DataError where labels can't
    belong to the decisions.

    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> arrays = {"labels": labels, "logits_sound": sound, "logits_face": face, "fused": sound + 3 * face}
    >>> found = mmbal.calibrate(arrays, "pool", split="test", names=["pool"])
    >>> {row["rule"]: row["accuracy"].value for row in found.rows}
    {'fused': 0.5, 'sum': 0.75, 'best': 1.0, 'pool': 1.0}
    """
    predictions = predictions_of(predictions)
    predictions = predictions.unruled or predictions
    predictions.require_plausible()
    if split == "calibration" and not {"calibration", "val"} & set(predictions.splits()):
        have = ", ".join(predictions.splits())
        raise UsageError(
            f"The predictions have no calibration split (they have: {have}).",
            "Mark held-out samples in an array 'split' as 'calibration', or cross-fit on what there is: --split "
            f"{next(iter(predictions.splits()))}.",
        )
    rows = predictions.select(split)
    rows = replace(rows, group=groups_of(rows.group))
    if test and set(rows.split.tolist()) == {"test"}:
        raise UsageError("A rule fitted on the test split can't be judged on it.", "Leave out --test, or --split.")
    large = [name for name in names if name != rule and too_large(name, len(rows.modalities), len(rows.classes))]
    wanted = list(dict.fromkeys(["sum", "best", *(name for name in names if name not in large), rule]))
    config = {} if protect is None else {rule: {"protect": protect}}
    with portion(0.5):
        fitted, known = fit_and_cross_fit(rows, rule, folds, seed, **config.get(rule, {}))
    left_out = (
        f"Too large for {len(rows.classes):,} classes, unless named by --rule: {', '.join(large)}." if large else ""
    )
    tested = predictions.select("test") if test else None
    alone = fit_rule(rows, "best")
    with portion(0.3):
        held_out = Comparison.of(rows, wanted, folds, seed, config=config, known=known)
    own = {} if tested is None else {rule: [(fitted, np.arange(len(tested)))]}
    judged = None if tested is None else Comparison.of(tested, wanted, folds, seed, rows, config=config, known=own)
    return Calibration(
        rule=fitted,
        name=rule,
        split=str(rows.split[0]),
        n=len(rows),
        folds=folds,
        best=alone.modalities[int(alone.parameters["order"][0])],
        stated=stated_decision(rows) is not None,
        rows=held_out.rows(),
        classes=held_out.classes(rule),
        test=None if judged is None else judged.rows(),
        test_classes=None if judged is None else judged.classes(rule),
        n_test=None if tested is None else len(tested),
        protect=protect,
        warning=" ".join(filter(None, ["" if tested is None else unlike(rows, tested), sparse(rows), left_out])),
    )
