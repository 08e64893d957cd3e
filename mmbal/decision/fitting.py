"""Fit, cross-fit and store decision rules by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mmbal.config import Config
from mmbal.decision.base import Held, Rule
from mmbal.decision.fused import light, with_rule
from mmbal.errors import ConfigError
from mmbal.predictions.format import Predictions, Source
from mmbal.predictions.order import canonical, canonical_order
from mmbal.predictions.source import predictions_of
from mmbal.registry import rules

FORMAT = "mmbal.rule"
AT_ONCE = 2**21  # probabilities that a rule decides at a time, of rows that it has not seen


def fit_rule(predictions: Source, name: str = "adaptive", **config: Any) -> Rule:
    """The rule called ``name`` with these hyper-parameters, fitted on every row of ``predictions``.

    ``predictions``: Predictions, a mapping of arrays, or the path of a predictions file. Select the held-out samples
    first. Raises UsageError for an unknown name and where there are no samples, ConfigError for an unknown or invalid
    hyper-parameter, DataError for arrays that are no predictions.

    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> arrays = {"labels": labels, "logits_sound": sound, "logits_face": face, "fused": sound + 3 * face}
    >>> rule = mmbal.fit_rule(arrays, "pool")
    >>> rule.apply(mmbal.Predictions.of(arrays))[:4].argmax(axis=1)
    array([0, 1, 0, 1])
    """
    return fit_ordered(canonical(predictions_of(predictions)), name, **config)


def cross_fit(predictions: Source, name: str = "adaptive", folds: int = 5, seed: int = 0, **config: Any) -> np.ndarray:
    """Log-probabilities ``(N, C)`` of every row by a rule fitted on the other folds.

    Folds are stratified by class and keep the rows of a group together; see :func:`mmbal.maths.folds.folds_of`.
    Raises what :func:`fit_rule` raises.

    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> arrays = {"labels": labels, "logits_sound": sound, "logits_face": face, "fused": sound + 3 * face}
    >>> mmbal.cross_fit(arrays, "pool").shape
    (200, 2)
    """
    predictions = predictions_of(predictions)
    return held_out(predictions, cross_fitted_rules(predictions, name, folds, seed, **config))


def fit_ordered(predictions: Predictions, name: str, **config: Any) -> Rule:
    """:func:`fit_rule` on samples that are in their canonical order already."""
    rule: type[Rule] = rules.get(name)
    return rule.fit(predictions, _config(rule, name, config))


def cross_fit_ordered(predictions: Predictions, name: str, folds: int, seed: int, **config: Any) -> np.ndarray:
    """:func:`cross_fit` of samples that are in their canonical order already."""
    rule: type[Rule] = rules.get(name)
    return held_out(predictions, rule.cross_fit(predictions, _config(rule, name, config), folds, seed))


def cross_fitted_rules(
    predictions: Predictions, name: str, folds: int = 5, seed: int = 0, **config: Any
) -> Iterator[tuple[Rule, np.ndarray]]:
    """The rule of every fold, fitted on the other folds, with the rows ``(n,)`` that it has not seen."""
    cls: type[Rule] = rules.get(name)
    order = canonical_order(predictions)
    given = (light(predictions) if cls.single else predictions).take(order)
    for rule, rows in cls.cross_fit(given, _config(cls, name, config), folds, seed):
        yield rule, order[rows]


def fit_and_cross_fit(
    predictions: Predictions, name: str, folds: int = 5, seed: int = 0, **config: Any
) -> tuple[Rule, dict[str, list[Held]]]:
    """What :func:`fit_rule` and :func:`cross_fitted_rules` give, with what they have in common done once.

    The cross-fitted rules are by name: the rule's own, and others that were fitted by the way.
    """
    cls: type[Rule] = rules.get(name)
    order = canonical_order(predictions)
    given = (light(predictions) if cls.single else predictions).take(order)
    rule, own, others = cls.fit_and_cross_fit(given, _config(cls, name, config), folds, seed)
    every = {**others, name: own}
    return rule, {key: [(fitted, order[rows]) for fitted, rows in parts] for key, parts in every.items()}


def cross_ruled(predictions: Predictions, name: str, folds: int = 5, seed: int = 0, **config: Any) -> Predictions:
    """:func:`mmbal.decision.fused.with_rule`, every row under a rule ``name`` that was fitted on the other folds."""
    parts, order = [], []
    for rule, rows in cross_fitted_rules(predictions, name, folds, seed, **config):
        parts.append(with_rule(predictions.take(rows), rule, name))
        order.append(rows)
    return Predictions.concatenate(parts).take(np.argsort(np.concatenate(order)))


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
    if stored.get("version") not in [cls.version, *cls.older]:  # a list, since the version may be of any type
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


def held_out(predictions: Predictions, parts: Iterable[Held]) -> np.ndarray:
    """Log-probabilities ``(N, C)`` of each row by the rule that has not seen it."""
    out = np.empty((len(predictions), len(predictions.classes)))
    for rule, rows in parts:
        for some in np.array_split(rows, max(1, out[:1].size * len(rows) // AT_ONCE)):
            out[some] = rule.apply(predictions.take(some))
    return out


def _config(rule: type[Rule], name: str, values: Mapping[str, Any]) -> Config:
    unknown = sorted(set(values) - set(rule.Config.model_fields))
    if unknown:
        known = ", ".join(rule.Config.model_fields) or "none"
        raise ConfigError(f"Rule '{name}' has no hyper-parameter '{unknown[0]}'.", f"It has: {known}.")
    try:
        return rule.Config(**values)
    except ValueError as error:
        raise ConfigError(f"Rule '{name}': {error}") from None
