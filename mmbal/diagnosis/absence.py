"""The accuracy when one modality is missing, zeroed, replaced by its mean, or shuffled."""

from __future__ import annotations

import numpy as np

from mmbal.diagnosis.coalitions import Decision, correct
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.schema import Missing
from mmbal.predictions.format import Array, Predictions

SHUFFLES = 10  # permutations averaged over


def missing_of(figures: Figures, predictions: Predictions, decision: Decision, m: str, seed: int) -> Missing | None:
    """Accuracy with modality ``m`` disturbed, over the samples that have it; None where nothing of it is known.

    ``zeroed``, ``mean`` and ``shuffled`` act on the additive parts, so they need a fusion that is additive. A zero
    feature leaves the modality its share ``b / M`` of the bias, which must be given.
    """
    rows = np.flatnonzero(predictions.present_mask()[:, predictions.modalities.index(m)])
    without = decision.without(m)
    if without is None or not len(rows):
        return None
    labels = figures.labels[rows]
    found = {"removed": correct(without[rows], labels)}
    if not decision.given:
        part, rest = decision.contribution[m][rows], (decision.fused - decision.contribution[m])[rows]
        found["mean"] = correct(rest + part.mean(axis=0), labels)
        found["shuffled"] = _shuffled(part, rest, labels, seed)
        if predictions.bias is not None:
            found["zeroed"] = correct(rest + predictions.bias / len(predictions.modalities), labels)
    path = f"missing.{m}"
    estimates = {how: figures.add(f"{path}.{how}", figures.boot.means(right, rows)) for how, right in found.items()}
    return Missing.model_validate(estimates)


def _shuffled(part: Array, rest: Array, labels: Array, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    runs = [correct(rest + part[rng.permutation(len(part))], labels) for _ in range(SHUFFLES)]
    value: Array = np.mean(runs, axis=0)
    return value
