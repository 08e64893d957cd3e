"""Norms of features, decision weights and contributions, and the geometry of each modality's feature space."""

from __future__ import annotations

import numpy as np

from mmbal.diagnosis.coalitions import Decision, centred
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.schema import ClassNorms, Geometry, Norm, Norms
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.folds import FOLDS, folds_of, groups_of
from mmbal.maths.heads import standardise
from mmbal.predictions.format import Array, Predictions


def norms_of(
    figures: Figures, predictions: Predictions, decision: Decision
) -> tuple[dict[str, Norms], dict[str, dict[str, ClassNorms]]]:
    """Norms per modality, and per modality and class.

    Of z the length of a feature vector, of W the length of a class's row, of W z the length of the class-centred part
    of the fused logits. Standardised: the feature dimensions have unit spread, and W is rescaled so that W z keeps its
    meaning (less a constant offset). W does not depend on the samples, so it has no interval.
    """
    here = predictions.present_mask()
    rows = {m: np.flatnonzero(here[:, k]) for k, m in enumerate(predictions.modalities) if here[:, k].any()}
    tables = {m: _lengths(predictions, decision, m, own) for m, own in rows.items()}
    overall, by_class = {}, {}
    for m, table in tables.items():
        found = {}
        for part, (raw, standardised) in table.items():
            own = None if part == "weights" else rows[m]
            others = [other[part][0] for name, other in tables.items() if name != m and part in other]
            found[part] = Norm(
                raw=_mean(figures, f"norms.{m}.{part}.raw", raw, own),
                standardised=None
                if standardised is None
                else _mean(figures, f"norms.{m}.{part}.standardised", standardised, own),
                effect=_effect(raw, others),
            )
        if found:
            overall[m] = Norms(**found)
        by_class[m] = {c: _class_norms(table, k, figures.labels[rows[m]]) for k, c in enumerate(predictions.classes)}
    return overall, by_class


def _lengths(
    predictions: Predictions, decision: Decision, m: str, rows: Array
) -> dict[str, tuple[Array, Array | None]]:
    """Raw and standardised lengths: of features and contributions per sample of ``rows``, of weights per class."""
    found: dict[str, tuple[Array, Array | None]] = {}
    z = predictions.features[m][rows] if m in predictions.features else None
    if z is not None:
        found["features"] = (_length(z), _length(standardise(z)[0]))
    if m in predictions.weight:
        w = predictions.weight[m] - predictions.weight[m].mean(axis=0)
        found["weights"] = (_length(w), None if z is None else _length(w * z.std(axis=0)))
    if m in decision.contribution:
        parts = centred(decision.contribution[m][rows])
        found["contribution"] = (_length(parts), _length(parts - parts.mean(axis=0)))
    return found


def _length(rows: Array) -> Array:
    value: Array = np.linalg.norm(rows, axis=1)
    return value


def _mean(figures: Figures, path: str, values: Array, rows: Array | None) -> Estimate:
    estimate = None if rows is None else figures.add(path, figures.boot.means(values, rows), len(rows))
    return Estimate(value=float(values.mean())) if estimate is None else estimate


def _class_norms(table: dict[str, tuple[Array, Array | None]], k: int, labels: Array) -> ClassNorms:
    """Mean raw lengths over the samples of class ``k``, and the length of its row of the weights."""
    inside = {part: raw[[k]] if part == "weights" else raw[labels == k] for part, (raw, _) in table.items()}
    return ClassNorms(**{part: float(values.mean()) for part, values in inside.items() if len(values)})


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
    fold = folds_of(labels, FOLDS, seed, groups_of(group))
    right = np.zeros(len(labels))
    for k in range(fold.max() + 1):
        held_out = fold == k
        train, test = standardise(features[~held_out], features[held_out])
        known = np.unique(labels[~held_out])
        centre = np.stack([train[labels[~held_out] == c].mean(axis=0) for c in known])
        distance = (centre**2).sum(axis=1) - 2 * test @ centre.T
        right[held_out] = known[distance.argmin(axis=1)] == labels[held_out]
    return right
