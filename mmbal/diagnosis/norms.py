"""Norms of features, decision weights and votes, and the geometry of each modality's feature space."""

from __future__ import annotations

import numpy as np

from mmbal.data.predictions import Array, Predictions
from mmbal.decision.folds import folds_of
from mmbal.diagnosis.coalitions import Decision, centred
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.schema import ClassNorms, Geometry, Norm, Norms
from mmbal.diagnosis.significance import Estimate

FOLDS = 5


def standardise(train: Array, *others: Array) -> list[Array]:
    """``train`` and ``others`` with the mean and the spread of ``train`` per dimension; dead dimensions become 0."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-8 * max(float(spread.max()), 1e-30))
    return [(x - mean) * scale for x in (train, *others)]


def norms_of(
    figures: Figures, predictions: Predictions, decision: Decision
) -> tuple[dict[str, Norms], dict[str, dict[str, ClassNorms]]]:
    """Norms per modality, and per modality and class.

    Of z the length of a feature vector, of W the length of a class's row, of W z the length of the class-centred part
    of the fused logits. Standardised: the feature dimensions have unit spread, and W is rescaled so that W z keeps its
    meaning (less a constant offset). W does not depend on the samples, so it has no interval.
    """
    names, here = predictions.modalities, predictions.present_mask()
    raw: dict[str, dict[str, Array]] = {"features": {}, "weights": {}, "votes": {}}
    scaled: dict[str, dict[str, Array]] = {"features": {}, "weights": {}, "votes": {}}
    for k, m in enumerate(names):
        rows = here[:, k]
        if not rows.any():
            continue
        if m in predictions.features:
            z = predictions.features[m][rows]
            raw["features"][m] = np.linalg.norm(z, axis=1)
            scaled["features"][m] = np.linalg.norm(standardise(z)[0], axis=1)
        if m in predictions.weight:
            w = predictions.weight[m] - predictions.weight[m].mean(axis=0)
            raw["weights"][m] = np.linalg.norm(w, axis=1)
            if m in predictions.features:
                scaled["weights"][m] = np.linalg.norm(w * z.std(axis=0), axis=1)
        if m in decision.contribution:
            part = centred(decision.contribution[m][rows])
            raw["votes"][m] = np.linalg.norm(part, axis=1)
            scaled["votes"][m] = np.linalg.norm(part - part.mean(axis=0), axis=1)
    overall: dict[str, dict[str, Norm]] = {m: {} for m in names}
    by_class: dict[str, dict[str, dict[str, float]]] = {m: {c: {} for c in predictions.classes} for m in names}
    for what, table in raw.items():
        for m, values in table.items():
            rows = np.flatnonzero(here[:, names.index(m)])

            def estimate(values: Array, path: str, what: str = what, rows: Array = rows) -> Estimate | None:
                if what == "weights":
                    return Estimate(value=float(values.mean()))
                return figures.add(path, figures.boot.means(values, rows))

            path = f"norms.{m}.{what}"
            own = estimate(values, f"{path}.raw")
            if own is None:
                continue
            other = scaled[what].get(m)
            overall[m][what] = Norm(
                raw=own,
                standardised=None if other is None else estimate(other, f"{path}.standardised"),
                effect=_effect(values, [v for n, v in table.items() if n != m]),
            )
            for k, c in enumerate(predictions.classes):
                inside = values[[k]] if what == "weights" else values[predictions.labels[rows] == k]
                if len(inside):
                    by_class[m][c][what] = float(inside.mean())
    return (
        {m: Norms(**found) for m, found in overall.items() if found},
        {m: {c: ClassNorms(**found) for c, found in table.items() if found} for m, table in by_class.items()},
    )


def _effect(values: Array, others: list[Array]) -> float | None:
    """Cohen's d between the log norms of one modality and those of the others, equal weight each."""
    logs = [np.log(np.maximum(v, 1e-12)) for v in (values, *others)]
    if not others:
        return None
    spread = np.sqrt(np.mean([v.var() for v in logs]))
    gap = logs[0].mean() - np.mean([v.mean() for v in logs[1:]])
    return float(gap / spread) if spread > 1e-9 else None


def geometry_of(
    figures: Figures, m: str, features: Array, rows: Array, group: Array | None, seed: int
) -> Geometry | None:
    """Geometry of ``features (N, D)`` over ``rows`` (mask), standardised; None with fewer than two rows.

    Separability is trace(between-class scatter) / trace(within-class scatter); the effective rank is that of Roy and
    Vetterli (EUSIPCO 2007), on the covariance's spectrum.
    """
    kept = np.flatnonzero(rows)
    if len(kept) < 2:
        return None
    z, labels = standardise(features[kept])[0], figures.labels[kept]
    centre = np.stack(
        [
            z[labels == k].mean(axis=0) if (labels == k).any() else np.zeros(z.shape[1])
            for k in range(len(figures.classes))
        ]
    )
    within = float(((z - centre[labels]) ** 2).sum())
    between = float((centre[labels] ** 2).sum())
    spectrum = np.linalg.eigvalsh(z @ z.T if len(z) < z.shape[1] else z.T @ z).clip(0)
    share = spectrum[spectrum > 0] / max(float(spectrum.sum()), 1e-300)
    right = nearest_centroid(features[kept], labels, None if group is None else group[kept], seed)
    accuracy = figures.add(f"geometry.{m}.nearest_centroid", figures.boot.means(right, kept))
    if accuracy is None:
        return None
    return Geometry(
        separability=between / within if within > 0 else 0.0,
        effective_rank=float(np.exp(-(share * np.log(share)).sum())),
        dimensions=int(features.shape[1]),
        nearest_centroid=accuracy,
    )


def nearest_centroid(features: Array, labels: Array, group: Array | None, seed: int) -> Array:
    """1 where the class mean nearest to a sample, of means taken on the other folds, is that of its class ``(N,)``."""
    grouped = group if group is not None and len(np.unique(group)) > 1 else None
    fold = folds_of(labels, FOLDS, seed, grouped)
    right = np.zeros(len(labels))
    for k in range(fold.max() + 1):
        held_out = fold == k
        train, test = standardise(features[~held_out], features[held_out])
        known = np.unique(labels[~held_out])
        centre = np.stack([train[labels[~held_out] == c].mean(axis=0) for c in known])
        distance = (centre**2).sum(axis=1) - 2 * test @ centre.T
        right[held_out] = known[distance.argmin(axis=1)] == labels[held_out]
    return right
