"""Fit, cross-fit, compare, calibrate with and store decision rules by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbal.config import Config
from mmbal.decision.base import Rule
from mmbal.decision.folds import folds_of
from mmbal.errors import ConfigError, UsageError
from mmbal.maths.resampling import GAIN, SHARE, interval, mean_interval, resampled_counts
from mmbal.maths.scoring import resampled_calibration_error, scores
from mmbal.predictions.format import Predictions, Source
from mmbal.registry import rules

FORMAT = "mmbal.rule"
COMPARED = (
    "sum", "mean", "best", "temperature", "pool", "bias", "classwise", "matrix", "discriminant", "stacking", "adaptive",
)  # fmt: skip


def fit_rule(predictions: Source, name: str = "adaptive", **config: Any) -> Rule:
    """The rule called ``name`` with these hyper-parameters, fitted on every row of ``predictions``.

    Raises UsageError for an unknown name, ConfigError for an unknown or invalid hyper-parameter.
    """
    rule: type[Rule] = rules.get(name)
    return rule.fit(Predictions.of(predictions), _config(rule, name, config))


def cross_fit(predictions: Source, name: str = "adaptive", folds: int = 5, seed: int = 0, **config: Any) -> np.ndarray:
    """Log-probabilities ``(N, C)`` of every row by a rule fitted on the other folds.

    Folds are stratified by class and keep the rows of a group together; see :func:`mmbal.decision.folds.folds_of`.
    """
    predictions = Predictions.of(predictions)
    out = np.empty((len(predictions), len(predictions.classes)))
    for rule, held_out in cross_fitted_rules(predictions, name, folds, seed, **config):
        out[held_out] = rule.apply(predictions.take(held_out))
    return out


def cross_fitted_rules(
    predictions: Predictions, name: str, folds: int = 5, seed: int = 0, **config: Any
) -> Iterator[tuple[Rule, np.ndarray]]:
    """The rule of every fold, fitted on the other folds, with the rows ``(n,)`` that it has not seen."""
    fold = folds_of(predictions.labels, folds, seed, predictions.group)
    for k in range(fold.max() + 1):
        held_out = np.flatnonzero(fold == k)
        yield fit_rule(predictions.take(fold != k), name, **config), held_out


def compare_rules(
    predictions: Source,
    names: Sequence[str] = COMPARED,
    folds: int = 5,
    seed: int = 0,
    fit_on: Source | None = None,
    replicates: int = 1000,
) -> list[dict[str, Any]]:
    """One row a rule: accuracy, NLL (nats), ECE and Brier score, and the paired gains over the plain sum.

    Every figure but the Brier score is a dict of value, low and high (95 % bootstrap interval; whole groups are drawn
    where there are groups). Rules are cross-fitted on ``predictions``, or fitted on ``fit_on`` where that is given.
    """
    predictions = Predictions.of(predictions)
    counts = resampled_counts(len(predictions), replicates, seed, predictions.group)
    rows = np.arange(len(predictions))
    plain = fit_rule(predictions, "sum").apply(predictions)
    result = []
    for name in names:
        if fit_on is None:
            log_p = cross_fit(predictions, name, folds, seed)
        else:
            log_p = fit_rule(fit_on, name).apply(predictions)
        right, loss = _right_and_loss(log_p, predictions.labels, rows)
        plain_right, plain_loss = _right_and_loss(plain, predictions.labels, rows)
        known = scores(log_p, predictions.labels)
        other = None if np.array_equal(log_p, plain) else GAIN  # the sum itself certainly differs in nothing
        result.append(
            {
                "rule": name,
                "accuracy": mean_interval(right, counts, f"{name}.accuracy", SHARE),
                "nll": mean_interval(loss, counts),
                "ece": interval(known["ece"], resampled_calibration_error(np.exp(log_p), predictions.labels, counts)),
                "brier": known["brier"],
                "accuracy_gain": mean_interval(right - plain_right, counts, f"{name}.accuracy_gain", other),
                "nll_gain": mean_interval(plain_loss - loss, counts),
            }
        )
    return result


@dataclass(frozen=True)
class Calibration:
    """A fitted rule and how all rules compare: ``rows`` cross-fitted on ``split``, ``test`` on the test split."""

    rule: Rule
    name: str
    split: str
    n: int
    folds: int
    best: str  # the modality that is best alone on the calibration rows
    rows: list[dict[str, Any]]
    test: list[dict[str, Any]] | None
    n_test: int | None
    warning: str = ""  # why the calibration rows may be no fair sample, as far as the test rows show it

    def sentence(self) -> str:
        """What the plain sum, the best single modality and the fitted rule give, in words."""
        table, where = (self.rows, f"cross-fitted on {self.n} rows of '{self.split}'")
        if self.test is not None:
            table, where = self.test, f"on {self.n_test} rows of 'test'"
        by_name = {row["rule"]: row for row in table}
        gain = by_name[self.name]["accuracy_gain"]
        verdict = "better" if gain["low"] > 0 else "worse" if gain["high"] < 0 else "no clear difference"
        return (
            f"The plain sum is right in {_percent(by_name['sum']['accuracy'])}, the best single modality ({self.best}) in "
            f"{_percent(by_name['best']['accuracy'])}, the fitted layer ({self.name}) in "
            f"{_percent(by_name[self.name]['accuracy'])}, {where}. Against the sum that is "
            f"{100 * gain['value']:+.1f} points [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]: {verdict}."
        )

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "rule": self.name,
            "split": self.split,
            "rows": self.n,
            "folds": self.folds,
            "best_modality": self.best,
            "cross_fitted": self.rows,
            "test": self.test,
            "test_rows": self.n_test,
            "sentence": self.sentence(),
            "warning": self.warning,
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
) -> Calibration:
    """Fit ``rule`` on a split, and compare rules on it by cross-fitting; on the test split only where ``test`` says so.

    Raises UsageError where the split is not there, or where rows of the test split would judge a rule fitted on them.
    """
    predictions = Predictions.of(predictions)
    predictions.require_plausible()
    if split == "calibration" and not {"calibration", "val"} & set(predictions.splits()):
        have = ", ".join(predictions.splits())
        raise UsageError(
            f"The predictions have no calibration split (they have: {have}).",
            "Mark held-out rows in an array 'split' as 'calibration', or cross-fit on what there is: --split "
            f"{next(iter(predictions.splits()))}.",
        )
    rows = predictions.select(split)
    if test and set(rows.split.tolist()) == {"test"}:
        raise UsageError("A rule fitted on the test split can't be judged on it.", "Leave out --test, or --split.")
    wanted = list(dict.fromkeys(["sum", "best", *names, rule]))
    fitted = fit_rule(rows, rule)
    tested = predictions.select("test") if test else None
    alone = fit_rule(rows, "best")
    return Calibration(
        rule=fitted,
        name=rule,
        split=str(rows.split[0]),
        n=len(rows),
        folds=folds,
        rows=compare_rules(rows, wanted, folds, seed),
        test=None if tested is None else compare_rules(tested, wanted, folds, seed, fit_on=rows),
        n_test=None if tested is None else len(tested),
        best=alone.modalities[int(alone.parameters["order"][0])],
        warning="" if tested is None else unlike(rows, tested),
    )


def unlike(fitted: Predictions, judged: Predictions, times: float = 1.5, deviations: float = 4.0) -> str:
    """A warning where the plain sum is far surer of the rows that rules are fitted on than of those they are judged on.

    Far surer: by ``times`` in mean loss, and by that many standard errors. Rows that the model was trained on look
    like that; a rule fitted on them learns how confident a model is of what it has seen.
    """
    losses = []
    for rows in (fitted, judged):
        _, loss = _right_and_loss(fit_rule(rows, "sum").apply(rows), rows.labels, np.arange(len(rows)))
        losses.append(loss)
    seen, new = (float(loss.mean()) for loss in losses)
    spread = np.sqrt(sum(loss.var() / len(loss) for loss in losses))
    if new <= times * seen or new - seen <= deviations * spread:
        return ""
    return (
        f"The votes lose {seen:.2f} nats a row on '{fitted.split[0]}' and {new:.2f} on '{judged.split[0]}': the former "
        "were used in training, or come from elsewhere. A rule fitted on them may be no help on new rows."
    )


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """A fitted rule as plain JSON values: format, name, version, classes, modalities, state."""
    return {
        "format": FORMAT,
        "name": rules.name_of(type(rule)),
        "version": rule.version,
        "classes": list(rule.classes),
        "modalities": list(rule.modalities),
        "state": rule.state(),
    }


def rule_from_json(stored: Mapping[str, Any], classes: tuple[str, ...] | None = None) -> Rule:
    """The rule that :func:`rule_to_json` wrote.

    Raises ConfigError where ``stored`` is no rule, is of a version that this mmbal does not read, or was fitted for
    other classes than ``classes``.
    """
    if not isinstance(stored, Mapping) or stored.get("format") != FORMAT:
        raise ConfigError("This is not a stored decision rule.", "`mmbal calibrate` writes one.")
    cls: type[Rule] = rules.get(str(stored.get("name")))
    if stored.get("version") != cls.version:
        raise ConfigError(
            f"The stored rule '{stored['name']}' has version {stored.get('version')}; this mmbal reads {cls.version}.",
            "Fit it again with `mmbal calibrate`, or use the mmbal that wrote it.",
        )
    try:
        rule = cls.from_state(tuple(stored["classes"]), tuple(stored["modalities"]), stored["state"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"The stored rule '{stored['name']}' is damaged ({type(error).__name__}: {error}).") from None
    if classes is not None and tuple(classes) != rule.classes:
        raise ConfigError(
            f"The stored rule was fitted for {len(rule.classes)} classes ({', '.join(rule.classes[:6])}...), "
            f"not for these {len(classes)} ({', '.join(tuple(classes)[:6])}...).",
            "Fit it again with `mmbal calibrate`.",
        )
    return rule


def _config(rule: type[Rule], name: str, values: Mapping[str, Any]) -> Config:
    unknown = sorted(set(values) - set(rule.Config.model_fields))
    if unknown:
        known = ", ".join(rule.Config.model_fields) or "none"
        raise ConfigError(f"Rule '{name}' has no hyper-parameter '{unknown[0]}'.", f"It has: {known}.")
    try:
        return rule.Config(**values)
    except ValueError as error:
        raise ConfigError(f"Rule '{name}': {error}") from None


def _right_and_loss(log_p: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (log_p.argmax(axis=1) == labels).astype(np.float64), -log_p[rows, labels]


def _percent(figure: Mapping[str, float]) -> str:
    return f"{100 * figure['value']:.1f} % [{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"
