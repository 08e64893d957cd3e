"""Linear heads on features, always scored on samples they were not fitted on: probes, and heads for bare features.

The head is a multinomial logistic regression on standardised features with the Gaussian prior under which a logit has
the standard deviation ``LOGIT_SPREAD`` before any data are seen, whatever the number of dimensions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from mmbal.decision.folds import folds_of
from mmbal.diagnosis.norms import FOLDS, standardise
from mmbal.errors import DataError
from mmbal.maths.influence import logistic_influence
from mmbal.predictions.columns import labels_of, numbers, plain
from mmbal.predictions.features import is_feature_file, read_feature_file
from mmbal.predictions.format import Array, Predictions, Source

LOGIT_SPREAD = 2.0
FIT_ROWS = 10_000  # more rows than this are thinned before a fit: a probe is settled long before, and stays quick


def fit_head(features: Array, labels: Array, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Weight ``(C, D)`` and bias ``(C,)`` of the head; a class without rows gets a bias below every other's."""
    rows = fit_rows(len(labels), seed)
    features, labels = features[rows], labels[rows]
    known = np.unique(labels)
    weight, bias = np.zeros((classes, features.shape[1])), np.zeros(classes)
    if len(known) > 1:
        model = LogisticRegression(C=1 / ridge(features), max_iter=1000).fit(features, labels)
        if len(known) == 2:
            weight[known], bias[known] = np.outer([-0.5, 0.5], model.coef_[0]), [-0.5, 0.5] * model.intercept_
        else:
            weight[known], bias[known] = model.coef_, model.intercept_
    unknown = np.setdiff1d(np.arange(classes), known)
    bias[unknown] = bias[known].min() - np.log(len(labels) + 1)
    return weight, bias


def fit_rows(n: int, seed: int) -> Array:
    """Which of ``n`` rows a head is fitted to."""
    return np.arange(n) if n <= FIT_ROWS else np.random.default_rng(seed).choice(n, FIT_ROWS, replace=False)


def ridge(features: Array) -> float:
    """The penalty ``ridge / 2 |weight|^2`` of the Gaussian prior."""
    return float(features.shape[1] / LOGIT_SPREAD**2)


def groups_of(group: Array | None) -> Array | None:
    """The groups where there are at least two to part, else None."""
    return group if group is not None and len(np.unique(group)) > 1 else None


@dataclass(frozen=True)
class Probe:
    """A linear probe, cross-fitted: out-of-fold ``logits (N, C)``, zero where the modality is absent."""

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
        fold = folds_of(labels[rows], FOLDS, seed, groups_of(None if group is None else group[rows]))
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


def predictions_from_features(
    features: Mapping[str, Any],
    labels: Any,
    *,
    classes: Any = None,
    ids: Any = None,
    split: Any = None,
    group: Any = None,
    present: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Predictions:
    """Decisions for bare features: one linear head on all modalities' features, split into the modalities' parts.

    ``features`` maps modality -> ``(N, D_m)``. With rows of a split ``train`` the head is fitted on those, and the
    other splits are decided; otherwise it is cross-fitted within each split, whole groups at a time. The parts are
    ``contribution_m = z_m W_m^T + b / M``, as for a model with a concatenation head; ``weight`` is the mean head of
    the folds. Raises DataError where shapes do not fit.
    """
    arrays = {m: numbers(plain(z, m), m) for m, z in features.items()}
    named = plain(labels, "labels")
    n = len(named)
    for m, z in arrays.items():
        if z.ndim != 2 or len(z) != n or not z.shape[1]:
            raise DataError(f"The features of '{m}' have shape {z.shape}, expected ({n}, D).")
    known = labels_of(named, None if classes is None else tuple(map(str, classes)), None)
    classes = known.classes
    given: dict[str, Any] = {"labels": known.index, "classes": classes, "modalities": list(arrays)}
    given |= {f"features_{m}": z for m, z in arrays.items()} | {
        f"logits_{m}": np.zeros((n, len(classes))) for m in arrays
    }
    given |= {f"present_{m}": mask for m, mask in (present or {}).items()}
    given |= {key: value for key, value in (("ids", ids), ("split", split), ("group", group)) if value is not None}
    bare = Predictions.from_arrays(given)
    train = bare.split == "train"
    if train.any() and not train.all():
        jobs = [(train, ~train)]
        how = "head fitted here on the split 'train'"
    else:
        jobs = []
        for name in bare.splits():
            rows = np.flatnonzero(bare.split == name)
            fold = folds_of(bare.labels[rows], FOLDS, seed, groups_of(None if bare.group is None else bare.group[rows]))
            jobs += [(rows[fold != k], rows[fold == k]) for k in range(fold.max() + 1)]
        how = f"head fitted here, cross-fitted {'by group' if groups_of(bare.group) is not None else 'in the split'}"
    parts = {m: np.zeros((n, len(bare.classes))) for m in arrays}
    weights: dict[str, list[Array]] = {m: [] for m in arrays}
    for fit, score in jobs:
        scaled = {m: standardise(z[fit], z[score]) for m, z in bare.features.items()}
        weight, bias = fit_head(np.hstack([z[0] for z in scaled.values()]), bare.labels[fit], len(bare.classes), seed)
        blocks = np.split(weight, np.cumsum([z.shape[1] for z in bare.features.values()])[:-1], axis=1)
        for (m, (_, held_out)), block in zip(scaled.items(), blocks, strict=True):
            parts[m][score] = held_out @ block.T + bias / len(parts)
            spread = bare.features[m][fit].std(axis=0)
            weights[m].append(np.divide(block, spread, out=np.zeros_like(block), where=spread > 0))
    given |= {f"logits_{m}": part for m, part in parts.items()} | {
        f"contribution_{m}": part for m, part in parts.items()
    }
    given |= {f"weight_{m}": np.mean(each, axis=0) for m, each in weights.items()}
    whole = Predictions.from_arrays(given, {"producer": "mmbal heads", "heads": how, "fusion": "concat"})
    return whole.take(~train) if train.any() and not train.all() else whole


def load_features(path: str | Path, seed: int = 0) -> Predictions:
    """Predictions of heads fitted here on a feature file (see :mod:`mmbal.predictions.features`).

    Raises UsageError (no file) or DataError (what the file lacks).
    """
    path = Path(path)
    given = read_feature_file(path)
    try:
        labels = labels_of(given.labels, given.named_classes, None, given.labels_key)
        found = predictions_from_features(
            given.arrays,
            labels.index,
            classes=labels.classes,
            present=given.present,
            seed=seed,
            **given.columns(),
        )
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None
    warnings = (*given.remarks(), *labels.notes, *found.warnings)
    return replace(found, meta={**found.meta, "dataset": path.stem}, warnings=warnings)


def read(value: Source, seed: int = 0) -> Predictions:
    """What :meth:`Predictions.of` takes, or a file of bare features, to which heads are fitted here."""
    if isinstance(value, (str, os.PathLike)) and is_feature_file(Path(value)):
        return load_features(Path(value), seed)
    return Predictions.of(value)
