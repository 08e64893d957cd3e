"""Modality discrepancy of a sample: by how much one modality is more confident of the truth than the others.

Xia, Zhao, Pang, Zhang and Hu, "Balanced Audiovisual Dataset for Imbalance Analysis", 2023, arXiv 2302.10912: with
c_m = p_m[y] of separately trained unimodal models, d = c_a - c_v; a sample with d > 0 is audio-preferred.

    M modalities:   m* = argmax_m c_m,   d = c_m* - mean_{m != m*} c_m  in [0, 1],   for M = 2:  d = |c_a - c_v|
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmbal.errors import UsageError

Array = np.ndarray

DIGITS = 12  # of a confidence: less is rounding, which depends on the order of the classes, and must not break a tie


@dataclass(frozen=True)
class Discrepancy:
    """``preferred (N,)``: index into ``modalities`` (sorted names), -1 where fewer than two are present; ``gap (N,)``."""

    modalities: tuple[str, ...]
    preferred: Array
    gap: Array

    def cells(self, bins: int) -> Array:
        """The cell ``(N,)`` of each sample: preferred modality x one of ``bins`` equal parts of [0, 1]; -1: none."""
        part = np.minimum((self.gap * bins).astype(np.int64), bins - 1)
        return np.where(self.preferred < 0, -1, self.preferred * bins + part)


def discrepancy(confidence: Mapping[str, Array], present: Mapping[str, Array] | None = None) -> Discrepancy:
    """The discrepancy of samples from their modalities' confidences ``(N,)`` in the true class.

    A tie goes to the first by name. Raises UsageError for fewer than two modalities.
    """
    names = tuple(sorted(confidence))
    if len(names) < 2:
        raise UsageError("A discrepancy needs at least two modalities, and there is only one.")
    values = np.stack([np.asarray(confidence[m], dtype=np.float64) for m in names], axis=1)
    values = values.round(DIGITS)
    have = np.ones(values.shape, dtype=bool)
    for i, m in enumerate(names):
        if present is not None and m in present:
            have[:, i] = present[m]
    values = np.where(have, values, -np.inf)
    preferred, count = values.argmax(axis=1), have.sum(axis=1)
    best = values.max(axis=1, initial=-np.inf)
    rest = (np.where(have, values, 0).sum(axis=1) - np.where(count > 0, best, 0)) / np.maximum(count - 1, 1)
    enough = count > 1
    return Discrepancy(names, np.where(enough, preferred, -1), np.where(enough, best - rest, 0.0))


def uniform_draw(
    cells: Array, random: np.random.Generator, *, strength: float = 1.0, repeats: int = 5, size: int | None = None
) -> Array:
    """Positions ``(size,)`` of samples drawn so that all cells count alike; samples in cell -1 keep their share.

    A cell of n samples gets a number proportional to ``n ** (1 - strength)``: 1 makes the cells uniform, 0 leaves them
    as they are. No sample is drawn more than ``repeats`` times, which leaves a very rare cell below its share. Within
    a cell all samples are drawn equally often, up to one.
    """
    size = len(cells) if size is None else size
    kept = np.flatnonzero(cells < 0)
    names, counts = np.unique(cells[cells >= 0], return_counts=True)
    drawn = [_repeat(kept, round(len(kept) * size / len(cells)), random)] if len(kept) else []
    quota = _quota(counts.astype(np.float64) ** (1 - strength), counts * repeats, size - sum(map(len, drawn)))
    for name, wanted in zip(names, quota, strict=True):
        drawn.append(_repeat(np.flatnonzero(cells == name), int(wanted), random))
    return np.sort(np.concatenate(drawn))


def _quota(share: Array, limit: Array, total: int) -> Array:
    """Whole numbers proportional to ``share`` that sum to ``total``, none above its ``limit``."""
    wanted = np.zeros(len(share))
    open_ = np.ones(len(share), dtype=bool)
    while open_.any():
        left = total - wanted[~open_].sum()
        wanted[open_] = left * share[open_] / share[open_].sum()
        over = open_ & (wanted > limit)
        if not over.any():
            break
        wanted[over] = limit[over]
        open_ &= ~over
    whole = np.floor(wanted + 1e-9).astype(np.int64)
    for index in np.argsort(whole - wanted, kind="stable")[: round(wanted.sum()) - whole.sum()]:
        whole[index] += 1
    return whole


def _repeat(rows: Array, wanted: int, random: np.random.Generator) -> Array:
    """``wanted`` of ``rows``: each as often as all others, and a random part of them once more."""
    times, rest = divmod(wanted, len(rows))
    return np.concatenate([np.tile(rows, times), random.permutation(rows)[:rest]])
