"""Decisions for bare features: linear heads, fitted here on other samples than those they decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.errors import DataError
from mmbal.maths.folds import FOLDS, folds_of, groups_of
from mmbal.maths.heads import fit_head, standardise
from mmbal.predictions.columns import numbers, plain
from mmbal.predictions.doubts import about_classes
from mmbal.predictions.features import read_feature_file
from mmbal.predictions.format import Array, Predictions
from mmbal.predictions.labels import labels_of
from mmbal.predictions.order import canonical_order


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
        jobs, order = [], canonical_order(bare)
        for name in bare.splits():
            rows = order[bare.split[order] == name]
            fold = folds_of(bare.labels[rows], FOLDS, seed, None if bare.group is None else bare.group[rows])
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

    Raises UsageError (no file) or DataError (naming what is missing from the file).
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
    warnings = (*given.remarks(), *labels.notes, *about_classes(labels.classes), *found.warnings)
    return replace(found, meta={**found.meta, "dataset": path.stem}, warnings=warnings)
