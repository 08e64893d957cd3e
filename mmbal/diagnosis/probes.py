"""Linear heads on features, always scored on samples they were not fitted on: probes, and heads for bare features.

The head is that of :mod:`mmbal.maths.heads`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.errors import DataError
from mmbal.files import read_npz
from mmbal.maths.folds import FOLDS, folds_of, groups_of
from mmbal.maths.heads import fit_head, fit_rows, ridge, standardise
from mmbal.maths.influence import logistic_influence
from mmbal.predictions.format import Array, Predictions

IDS, GROUPS, LABELS = ("ids", "id", "clip_id"), ("group", "actor", "speaker"), ("labels", "label")


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
    arrays = {m: np.asarray(z, dtype=np.float64) for m, z in features.items()}
    n = len(np.asarray(labels))
    for m, z in arrays.items():
        if z.ndim != 2 or len(z) != n or not z.shape[1]:
            raise DataError(f"The features of '{m}' have shape {z.shape}, expected ({n}, D).")
    named = np.asarray(labels)
    if classes is None:
        classes = (
            np.unique(named).astype(str) if named.dtype.kind in "US" else np.arange(int(named.max()) + 1).astype(str)
        )
    given: dict[str, Any] = {"labels": named, "classes": classes, "modalities": list(arrays)}
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
    whole = Predictions.from_arrays(given)
    whole.meta.update(producer="mmbal heads", heads=how, fusion="concat")
    return whole.take(~train) if train.any() and not train.all() else whole


def is_feature_file(path: str | Path) -> bool:
    """Whether ``path`` is an .npz archive with named modalities and labels, but without decisions."""
    if Path(path).suffix != ".npz" or not Path(path).is_file():
        return False
    keys = read_npz(Path(path)).keys()
    decisions = any(key.startswith(("logits_", "probabilities_")) for key in keys)
    return not decisions and "modalities" in keys and any(key in keys for key in LABELS)


def load_features(path: str | Path, seed: int = 0) -> Predictions:
    """Predictions of heads fitted here on a feature file (keys as `mmbal import` documents them).

    Raises UsageError (no file) or DataError (what the file lacks).
    """
    path = Path(path)
    arrays = read_npz(path)

    def first(names: tuple[str, ...]) -> Array | None:
        return next((arrays[name] for name in names if name in arrays), None)

    labels = first(LABELS)
    if labels is None:
        raise DataError(f"{path} has no array 'label'.")
    names = [str(m) for m in np.atleast_1d(arrays["modalities"])]
    for m in names:
        if m not in arrays:
            raise DataError(f"{path}: 'modalities' names '{m}', but there is no array '{m}'.")
    try:
        found = predictions_from_features(
            {m: arrays[m] for m in names},
            labels,
            classes=arrays.get("classes"),
            ids=first(IDS),
            split=arrays.get("split"),
            group=first(GROUPS),
            present={m: arrays[f"present_{m}"] for m in names if f"present_{m}" in arrays},
            seed=seed,
        )
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from None
    found.meta["dataset"] = path.stem
    return found
