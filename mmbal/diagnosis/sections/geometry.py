"""The geometry of each modality's feature space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.folds import FOLDS, folds_of
from mmbal.maths.heads import standardise
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import SHARE as PERCENT
from mmbal.text import Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination


class Geometry(Frozen):
    """How the features of one modality lie in their space."""

    separability: float = Field(description="between-class over within-class variance of standardised features")
    effective_rank: float = Field(description="exp of the entropy of the covariance spectrum")
    dimensions: int
    nearest_centroid: Estimate = Field(description="accuracy of the nearest class mean, cross-fitted")


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
    fold = folds_of(labels, FOLDS, seed, group)
    right = np.zeros(len(labels))
    for k in range(fold.max() + 1):
        held_out = fold == k
        train, test = standardise(features[~held_out], features[held_out])
        known = np.unique(labels[~held_out])
        centre = np.stack([train[labels[~held_out] == c].mean(axis=0) for c in known])
        distance = (centre**2).sum(axis=1) - 2 * test @ centre.T
        right[held_out] = known[distance.argmin(axis=1)] == labels[held_out]
    return right


@sections.register()
class GeometrySection(Section):
    """Separability, effective rank and nearest centroid of each modality's features."""

    order = 110
    title = "Geometry of the features"
    full = True
    fields = {"geometry": (dict[str, Geometry], {})}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        p, found = e.predictions, {}
        for m in e.names:
            if m not in p.features:
                e.lacks(f"geometry.{m}", "the predictions hold no features", f"features_{m}")
                continue
            geometry = geometry_of(e.figures, m, p.features[m], e.here(m), p.group, e.fold_seed)
            if geometry is None:
                e.lacks(f"geometry.{m}", "fewer than two samples have the modality")
                continue
            found[m] = geometry
        return {"geometry": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        if not d.geometry:
            return []
        found = d.geometry.values()
        columns = [
            Column("features", list(d.geometry)),
            Column("separability", [g.separability for g in found], Form(3)),
            Column("effective rank", [f"{g.effective_rank:.1f} of {g.dimensions}" for g in found]),
            Column("nearest centroid", [g.nearest_centroid for g in found], PERCENT),
        ]
        return [Table.of(columns)]
