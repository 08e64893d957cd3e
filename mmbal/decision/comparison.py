"""Compares decision rules with the decision as it is on held-out samples, and decides whether one should be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from mmbal.decision.base import Rule
from mmbal.decision.fitting import cross_fit, fit_and_cross_fit, fit_rule
from mmbal.decision.fused import FUSED, as_it_is, stated_decision
from mmbal.errors import UsageError
from mmbal.maths.bootstrap import GAIN, SHARE, Bootstrap, Estimate
from mmbal.maths.folds import groups_of
from mmbal.maths.scoring import calibration_errors, correct, scores
from mmbal.maths.significance import holm, sign_test
from mmbal.predictions.format import Predictions, Source
from mmbal.predictions.order import canonical_order
from mmbal.predictions.source import predictions_of
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, ERROR, NATS, p_value
from mmbal.text import SHARE as SHARES

COMPARED = (
    "sum", "mean", "best", "temperature", "pool", "bias", "classwise", "matrix", "discriminant", "stacking", "adaptive",
)  # fmt: skip
ACCURACY_MARGIN, NLL_MARGIN = 0.02, 0.02  # what counts as no loss: 2 pp of accuracy, and nats a sample
FEW = 5  # samples of a class below which little can be fitted to it
SHOWN = 5  # classes named in a sentence
MOST_CLASSES = 20  # rows of the table by class that still read well
LEVEL = 0.05  # of the tests by class, after Holm's correction
ONE_SIDED = 0.95  # confidence with which a gain is at `least` what it is said to be


def compare_rules(
    predictions: Source,
    names: Sequence[str] = COMPARED,
    folds: int = 5,
    seed: int = 0,
    fit_on: Source | None = None,
    replicates: int = 1000,
) -> list[dict[str, Any]]:
    """One row for ``fused``, the decision as it is, and one a rule: accuracy, NLL, ECE, Brier score and paired gains.

    The gains are over ``fused``, in accuracy and in nats; without a fused decision the plain sum is the decision as it
    is. Every figure but the Brier score is an :class:`mmbal.maths.bootstrap.Estimate` with a 95 % interval: Student's t of
    a gain, as `mmbal diagnose` gives of the decision gap, and a bootstrap of the others. Whole groups are the units if there
    are enough of them. Rules are cross-fitted on ``predictions``, or fitted on ``fit_on`` where that is given. A rule that
    was stored before does not count: the decision as it is is the model's.
    """
    fitted = None if fit_on is None else predictions_of(fit_on)
    return Comparison.of(predictions_of(predictions), names, folds, seed, fitted, replicates).rows()


@dataclass(frozen=True)
class Comparison:
    """Held-out log-probabilities ``(N, C)`` of the decision as it is and of several rules on the same rows."""

    predictions: Predictions
    log_p: dict[str, np.ndarray]  # by name, first ``fused``
    boot: Bootstrap

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        names: Sequence[str],
        folds: int = 5,
        seed: int = 0,
        fit_on: Predictions | None = None,
        replicates: int = 1000,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        known: Mapping[str, np.ndarray] | None = None,
    ) -> Comparison:
        """Cross-fit the rules called ``names``, or fit them on ``fit_on``; ``config``: hyper-parameters by rule.

        ``known``: held-out log-probabilities ``(N, C)`` of rules that were fitted already.
        """
        own = predictions.unruled or predictions
        order = canonical_order(own)
        own = own.take(order)
        log_p = {FUSED: as_it_is(own)}
        for name in dict.fromkeys(names):
            if name == FUSED:
                continue
            options = (config or {}).get(name, {})
            if name in (known or {}):
                log_p[name] = (known or {})[name][order]
            elif fit_on is None:
                log_p[name] = cross_fit(own, name, folds, seed, **options)
            else:
                log_p[name] = fit_rule(fit_on.unruled or fit_on, name, **options).apply(own)
        return cls(own, log_p, Bootstrap.of(len(own), own.group, replicates, seed))

    def rows(self) -> list[dict[str, Any]]:
        """The table of :func:`compare_rules`."""
        labels, boot = self.predictions.labels, self.boot
        n = np.arange(len(labels))
        start = self.log_p[FUSED]
        start_right = correct(start, labels)
        found = []
        for name, log_p in self.log_p.items():
            right, known = correct(log_p, labels), scores(log_p, labels)
            found.append(
                {
                    "rule": name,
                    "accuracy": boot.mean(right, bounds=SHARE),
                    "nll": boot.mean(-log_p[n, labels]),
                    "ece": boot.estimate(calibration_errors(boot, np.exp(log_p), labels)),
                    "brier": known["brier"],
                    "accuracy_gain": Gain.of(boot, right - start_right, bounds=gain_bounds(log_p, start)),
                    "nll_gain": Gain.of(boot, log_p[n, labels] - start[n, labels]),
                }
            )
        return found

    def classes(self, name: str) -> list[dict[str, Any]]:
        """One row a class that has rows: accuracy of ``fused`` and of the rule, the paired gain, and its p by Holm."""
        labels, names = self.predictions.labels, self.predictions.classes
        before, after = (correct(self.log_p[x], labels) for x in (FUSED, name))
        bounds = gain_bounds(self.log_p[name], self.log_p[FUSED])
        found = []
        for k, p in class_tests(after - before, labels, self.predictions.group).items():
            rows = np.flatnonzero(labels == k)
            found.append(
                {
                    "class": names[k],
                    "rows": len(rows),
                    "fused": float(before[rows].mean()),
                    "accuracy": float(after[rows].mean()),
                    "gain": Gain.of(self.boot, after[rows] - before[rows], rows, bounds),
                    "p_holm": p,
                }
            )
        return found


def class_tests(gain: np.ndarray, labels: np.ndarray, group: np.ndarray | None) -> dict[int, float]:
    """p of "nothing changes in the class's accuracy" for each class that has rows, corrected by Holm.

    ``gain (N,)``: how far each row is right under a rule, less how far under the decision as it is. The paired sign test;
    rows of a ``group (N,)`` count once.
    """
    known = np.unique(labels).tolist()
    rows = [np.flatnonzero(labels == k) for k in known]
    p = [sign_test(gain[own], None if group is None else group[own]) for own in rows]
    return dict(zip(known, holm(p).tolist(), strict=True))


def gain_bounds(log_p: np.ndarray, start: np.ndarray) -> tuple[float, float] | None:
    """The bounds of a row's gain in accuracy of ``log_p (N, C)`` over ``start``; None where no decision can change."""
    return None if same_order(log_p, start) else GAIN


def same_order(log_p: np.ndarray, other: np.ndarray) -> bool:
    """Whether both rank all classes alike in every row: then no decision is changed, here or elsewhere."""
    return bool((np.argsort(log_p, axis=1, kind="stable") == np.argsort(other, axis=1, kind="stable")).all())


def at_least_as_good(
    row: Mapping[str, Any], accuracy_margin: float = ACCURACY_MARGIN, nll_margin: float = NLL_MARGIN
) -> tuple[bool, str]:
    """Whether a rule is shown to be at least as good as the decision as it is, and the sentence that says why.

    ``row``: the rule's row of :func:`compare_rules`, on rows that it was not fitted on. It is shown where both gains, in
    accuracy and in nats, lie above minus the margin with 95 % confidence (two one-sided tests of non-inferiority).
    """
    figures = (row["accuracy_gain"], accuracy_margin), (row["nll_gain"], nll_margin)
    if any(gain.least is None for gain, _ in figures):
        return False, f"The samples are too few to show whether '{row['rule']}' is as good as the decision as it is."
    shown = all(gain.least >= -margin for gain, margin in figures)
    accuracy, nll = row["accuracy_gain"], row["nll_gain"]
    return shown, (
        f"On held-out samples '{row['rule']}' is {'' if shown else 'not shown to be '}at least as good as the decision as "
        f"it is. With 95 % confidence its gain in accuracy is at least {100 * accuracy.least:+.1f} pp (allowed: "
        f"{-100 * accuracy_margin:g}), and in log-likelihood at least {nll.least:+.3f} nats (allowed: {-nll_margin:g})."
    )


@dataclass(frozen=True)
class Calibration:
    """A fitted rule and how all rules compare: ``rows`` cross-fitted on ``split``, ``test`` on the test split."""

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
    warning: str = ""  # why the calibration rows may not be like the test rows; empty where nothing shows it

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
        each = ", ".join(f"{row['class']} {DIFFERENCE.text(row['gain'])}" for row in sorted(lost, key=_gain_of))
        return f"Against the decision as it is the fitted layer loses accuracy in {each}."

    def tables(self) -> list[Table]:
        """The rules side by side and the fitted one class by class: cross-fitted, and on the test split where requested."""
        title = f"Cross-fitted on the {self.n} samples of '{self.split}', {self.folds} folds"
        found = [_rules_table(self.rows, self.name, title), _classes_table(self.classes, self.name)]
        if self.test is not None and self.test_classes is not None:
            title = f"Fitted on '{self.split}', judged on the {self.n_test} samples of 'test'"
            found += [_rules_table(self.test, self.name, title), _classes_table(self.test_classes, self.name)]
        return found

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        shown, reason = self.worth_storing()
        return {
            "rule": self.name,
            "split": self.split,
            "rows": self.n,
            "folds": self.folds,
            "best_modality": self.best,
            "reference": "fused" if self.stated else "the plain sum, since there is no fused decision",
            "protect": self.protect,
            "cross_fitted": to_jsonable_python(self.rows),
            "classes": to_jsonable_python(self.classes),
            "test": to_jsonable_python(self.test),
            "test_classes": to_jsonable_python(self.test_classes),
            "test_rows": self.n_test,
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

    ``protect``: accuracy in pp that any class may lose against the decision as it is (rule ``adaptive``).
    Raises UsageError where the split is not there, or where rows of the test split would judge a rule fitted on them;
    ConfigError where ``protect`` is given for a rule that does not have it.
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
    wanted = list(dict.fromkeys(["sum", "best", *names, rule]))
    config = {} if protect is None else {rule: {"protect": protect}}
    fitted, log_p = fit_and_cross_fit(rows, rule, folds, seed, **config.get(rule, {}))
    tested = predictions.select("test") if test else None
    alone = fit_rule(rows, "best")
    held_out = Comparison.of(rows, wanted, folds, seed, config=config, known={rule: log_p})
    own = {} if tested is None else {rule: fitted.apply(tested)}
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
        warning=" ".join(filter(None, ["" if tested is None else unlike(rows, tested), sparse(rows)])),
    )


def sparse(fitted: Predictions) -> str:
    """A warning that names the classes with few samples, or none, among those that a rule is fitted on; '' without any."""
    counts = np.bincount(fitted.labels, minlength=len(fitted.classes))
    told = []
    for names, what in (
        ([c for c, n in zip(fitted.classes, counts, strict=True) if n == 0], "no sample"),
        ([c for c, n in zip(fitted.classes, counts, strict=True) if 0 < n < FEW], f"fewer than {FEW} samples"),
    ):
        if names:
            some = ", ".join(f"'{name}'" for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            told.append(f"{what} of {len(names)} {'class' if len(names) == 1 else 'classes'} ({some})")
    if not told:
        return ""
    return f"The split '{fitted.split[0]}' has {' and '.join(told)}: a rule fitted on it knows little about them."


def unlike(fitted: Predictions, judged: Predictions, times: float = 1.5, deviations: float = 4.0) -> str:
    """A warning where the decision is far more confident on the rows that rules are fitted on than on those that judge.

    "Far" means by the factor ``times`` in mean loss, and by ``deviations`` standard errors. Rows that the model was
    trained on look like that; a rule fitted on them learns how confident the model is on its training data.
    """
    losses = [-as_it_is(rows)[np.arange(len(rows)), rows.labels] for rows in (fitted, judged)]
    seen, new = (float(loss.mean()) for loss in losses)
    spread = np.sqrt(sum(loss.var() / len(loss) for loss in losses))
    if new <= times * seen or new - seen <= deviations * spread:
        return ""
    return (
        f"Mean NLL is {seen:.2f} on '{fitted.split[0]}' but {new:.2f} on '{judged.split[0]}'. "
        f"The '{fitted.split[0]}' samples were probably seen in training, or have another source. "
        "A rule fitted on them may not help on new samples."
    )


class Gain(Estimate):
    """A paired gain with its interval, and what it is at ``least`` with 95 % confidence (one-sided)."""

    least: float | None = None

    @classmethod
    def of(
        cls,
        boot: Bootstrap,
        values: np.ndarray,
        rows: np.ndarray | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> Gain:
        """The mean of paired differences ``(n,)``, of ``rows`` where given; nothing but the value where they are few."""
        # the lower end of the two-sided 90 % interval is the one-sided 95 % bound
        return cls(
            **dict(boot.gain(values, rows, bounds)), least=boot.gain(values, rows, bounds, 2 * ONE_SIDED - 1).low
        )


def _gain_of(row: Mapping[str, Any]) -> float:
    return float(row["gain"].value)


def _rules_table(rows: list[dict[str, Any]], chosen: str, title: str) -> Table:
    columns = [
        Column("rule", [("▶ " if row["rule"] == chosen else "  ") + row["rule"] for row in rows]),
        Column("accuracy", [row["accuracy"] for row in rows], SHARES),
        Column("gain (pp)", [row["accuracy_gain"] for row in rows], DIFFERENCE.bare()),
        Column("NLL (nats)", [row["nll"] for row in rows], NATS),
        Column("ECE", [row["ece"] for row in rows], ERROR, drop=1),
    ]
    caption = "fused: the decision as it is. Gains are over it. In brackets: 95 % intervals."
    return Table.of(columns, title, caption)


def _classes_table(rows: list[dict[str, Any]], chosen: str) -> Table:
    cut = ""
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=_gain_of)[:MOST_CLASSES]
        cut = f" The {MOST_CLASSES} classes that gain least; --json has all."
    columns = [
        Column("class", [row["class"] for row in rows]),
        Column("samples", [row["rows"] for row in rows], drop=2),
        Column("fused", [row["fused"] for row in rows], SHARES),
        Column(chosen, [row["accuracy"] for row in rows], SHARES),
        Column("gain (pp)", [row["gain"] for row in rows], DIFFERENCE.bare()),
        Column("p", [p_value(row["p_holm"]) for row in rows], drop=1),
    ]
    caption = "Accuracy by class. p: paired sign test (of groups where there are groups), corrected by Holm." + cut
    return Table.of(columns, caption=caption)
