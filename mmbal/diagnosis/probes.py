"""Linear probes on the features of one modality, always scored on samples they were not fitted on.

The head is that of :mod:`mmbal.maths.heads`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmbal.maths.folds import FOLDS, folds_of
from mmbal.maths.heads import fit_head, fit_rows, ridge, standardise
from mmbal.maths.influence import logistic_influence
from mmbal.predictions.format import Array


@dataclass(frozen=True)
class Probe:
    """A linear probe, cross-fitted: out-of-fold ``logits (N, C)``, zero where the modality is missing."""

    logits: Array
    features: Array
    labels: Array
    rows: Array  # (n,): the samples that have the modality
    fold: Array  # (n,): their folds
    heads: list[tuple[Array, Array]]  # one a fold, fitted to the other folds
    seed: int

    @classmethod
    def fit(
        cls, features: Array, labels: Array, classes: int, here: Array, group: Array | None = None, seed: int = 0
    ) -> Probe:
        """Fit on ``features (N, D)`` of the samples that have the modality, ``here (N,)``; groups stay in one fold."""
        rows = np.flatnonzero(here)
        fold = folds_of(labels[rows], FOLDS, seed, None if group is None else group[rows])
        logits, heads = np.zeros((len(labels), classes)), []
        for k in range(fold.max() + 1):
            fitted, held_out = rows[fold != k], rows[fold == k]
            train, test = standardise(features[fitted], features[held_out])
            weight, bias = fit_head(train, labels[fitted], classes, seed)
            logits[held_out] = test @ weight.T + bias
            heads.append((weight, bias))
        return cls(logits, features, labels, rows, fold, heads, seed)

    def influence(self, slopes: Array) -> Array:
        """What each sample's part in the fits adds to a sum over samples: its derivative by the sample's weight ``(N,)``.

        ``slopes (N, C)``: derivative of every sample's own term by its logits.
        """
        total = np.zeros(len(self.labels))
        for k, (weight, bias) in enumerate(self.heads):
            fitted, held_out = self.rows[self.fold != k], self.rows[self.fold == k]
            train, test = standardise(self.features[fitted], self.features[held_out])
            chosen = fit_rows(len(fitted), self.seed)
            known, labels = np.unique(self.labels[fitted[chosen]], return_inverse=True)
            if len(known) < 2:
                continue
            slope = slopes[held_out][:, known].T @ np.hstack([test, np.ones((len(test), 1))])
            # two classes share one weight, half of it each, so the penalty on the halves is twice as steep
            steep = ridge(train) * (2 if len(known) == 2 else 1)
            total[fitted[chosen]] += logistic_influence(train[chosen], labels, weight[known], bias[known], steep, slope)
        return total
