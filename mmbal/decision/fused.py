"""Decisions under a fitted rule, with every coalition's decision and each modality's part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mmbal.decision.base import Rule
from mmbal.decision.fitting import cross_fitted_rules
from mmbal.maths.shapley import shapley_values
from mmbal.predictions.format import Predictions, concatenate, subsets_of


def coalition_contributions(
    values: Mapping[tuple[str, ...], np.ndarray], modalities: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Shapley value of each modality's part in logits ``(N, C)`` by coalition, plus 1/M of the empty coalition's."""
    shares = shapley_values(values, modalities)
    return {m: shares[m] + values[()] / len(modalities) for m in modalities}


def with_rule(predictions: Predictions, rule: Rule, name: str) -> Predictions:
    """The same decisions of single modalities, fused by a fitted rule; parts of the decision follow from coalitions."""
    subsets: dict[tuple[str, ...], np.ndarray] = {}
    mask = predictions.present_mask()
    for names in subsets_of(predictions.modalities):
        present = {m: mask[:, i] & (m in names) for i, m in enumerate(predictions.modalities)}
        subsets[names] = rule.apply(replace(predictions, present=present))
    return replace(
        predictions,
        fused=subsets[predictions.modalities],
        subsets=subsets,
        contribution=coalition_contributions(subsets, predictions.modalities),
        meta=predictions.meta | {"rule": name},
    )


def cross_ruled(predictions: Predictions, name: str, folds: int = 5, seed: int = 0, **config: Any) -> Predictions:
    """:func:`with_rule`, every row under the rule called ``name`` that was fitted on the other folds."""
    parts, rows = [], []
    for rule, held_out in cross_fitted_rules(predictions, name, folds, seed, **config):
        parts.append(with_rule(predictions.take(held_out), rule, name))
        rows.append(held_out)
    return concatenate(parts).take(np.argsort(np.concatenate(rows)))
