"""Percentile bootstrap of figures that are means over rows, or over bins of rows."""

from __future__ import annotations

import numpy as np


def resampled_counts(n: int, replicates: int = 1000, seed: int = 0, group: np.ndarray | None = None) -> np.ndarray:
    """How often each of n rows is drawn, ``(replicates, n)``; with ``group (n,)`` whole groups are drawn."""
    rng = np.random.default_rng(seed)
    unit_of = np.arange(n) if group is None else np.unique(group, return_inverse=True)[1]
    units = int(unit_of.max()) + 1
    draws = [np.bincount(rng.integers(units, size=units), minlength=units)[unit_of] for _ in range(replicates)]
    return np.stack(draws).astype(np.float32)


def interval(value: float, replicates: np.ndarray, confidence: float = 0.95) -> dict[str, float]:
    """``value`` with the percentile interval of its replicates, as a dict of value, low and high."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(replicates, [tail, 1 - tail])
    return {"value": float(value), "low": float(low), "high": float(high)}


def mean_interval(values: np.ndarray, counts: np.ndarray) -> dict[str, float]:
    """The mean of ``values (n,)`` with its interval under resampled ``counts (R, n)``."""
    return interval(values.mean(), counts @ values.astype(np.float32) / counts.sum(axis=1))
