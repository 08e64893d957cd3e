"""The table of a bootstrap: how often each replicate draws each sample, and sums over the samples under it."""

from __future__ import annotations

import numpy as np

from mmbal.maths.folds import by_appearance

MIN_GROUPS = 5  # a cluster bootstrap over fewer groups has hardly any different replicates
KEPT = 2**26  # bytes of a table of floating-point numbers that is kept: in float64 where that fits, else in float32
AT_ONCE = 256  # samples whose counts are made floating-point numbers at a time, so that these stay in the cache
DRAWN = 64  # replicates that are drawn before they are written to the table

Array = np.ndarray


def bootstrap_counts(n: int, replicates: int, seed: int = 0, group: Array | None = None) -> Array:
    """How often each sample is drawn: ``(n, 1 + replicates)`` uint8, the first column being the sample itself (ones).

    With ``group (n,)`` whole groups are drawn with replacement (cluster bootstrap), so that samples of one speaker,
    patient or actor do not count as independent. The counts of a sample stand side by side, since figures are of some
    samples. No count comes near 255: a sample is drawn once on average.
    """
    rng = np.random.default_rng(seed)
    unit_of = np.arange(n) if group is None else by_appearance(group)
    units = int(unit_of.max()) + 1
    counts = np.ones((n, 1 + replicates), dtype=np.uint8)
    for start in range(1, 1 + replicates, DRAWN):
        block = np.empty((min(DRAWN, 1 + replicates - start), n), dtype=np.uint8)
        for row in block:
            row[:] = np.bincount(rng.integers(units, size=units), minlength=units)[unit_of]
        counts[:, start : start + len(block)] = block.T
    return counts


def units_of(n: int, group: Array | None) -> Array:
    """The independent unit ``(n,)`` of each sample: its group where there are ``MIN_GROUPS`` at least, else itself."""
    if group is None or len(np.unique(group)) < MIN_GROUPS:
        return np.arange(n)
    return by_appearance(group)


def as_weights(counts: Array) -> Array:
    """The table in floating-point numbers where that takes little memory, else as it is.

    A replicate's sum in single precision is right to about 1e-6 of the sum of magnitudes, far below its own noise.
    """
    for kind in (np.float64, np.float32):
        if counts.size * np.dtype(kind).itemsize <= KEPT:
            return counts.astype(kind)
    return counts


def drawn_sums(weights: Array, values: Array, rows: Array | None = None) -> Array:
    """Sums ``(1 + B, K)`` of ``values (n, K)`` in each replicate, from the table :func:`as_weights` ``(N, 1 + B)``.

    ``rows``: which samples the values are of (indices or mask; all of them where not given).
    """
    kind = weights.dtype if weights.dtype.kind == "f" else np.dtype(np.float32)
    light = np.ascontiguousarray(values.T.astype(kind, copy=False))
    if rows is None and weights.dtype == kind:
        return np.asarray((light @ weights).T, dtype=np.float64)
    if rows is not None and rows.dtype == bool:
        rows = np.flatnonzero(rows)
    found = np.zeros((len(light), weights.shape[1]))
    table = np.empty((AT_ONCE, weights.shape[1]), kind)
    for start in range(0, len(values), AT_ONCE):
        own = slice(start, start + AT_ONCE)
        part = weights[own] if rows is None else weights[rows[own]]
        np.copyto(table[: len(part)], part)
        found += light[:, own] @ table[: len(part)]
    return found.T
