"""Bootstrap: how often each replicate draws each row, and percentile intervals of what follows from that."""

from __future__ import annotations

from zlib import crc32

import numpy as np

SHARE = (0.0, 1.0)  # bounds of a share of rows, such as an accuracy
GAIN = (-1.0, 1.0)  # and of the difference of two


def bootstrap_counts(n: int, replicates: int, seed: int = 0, group: np.ndarray | None = None) -> np.ndarray:
    """How often each row is drawn: ``(1 + replicates, n)`` int32, the first row being the sample itself (ones).

    With ``group (n,)`` whole groups are drawn with replacement (cluster bootstrap), so that samples of one speaker,
    patient or actor do not count as independent.
    """
    rng = np.random.default_rng(seed)
    unit_of = np.arange(n) if group is None else np.unique(group, return_inverse=True)[1]
    units = int(unit_of.max()) + 1
    counts = np.ones((1 + replicates, n), dtype=np.int32)
    for row in counts[1:]:
        row[:] = np.bincount(rng.integers(units, size=units), minlength=units)[unit_of]
    return counts


def resampled_counts(n: int, replicates: int = 1000, seed: int = 0, group: np.ndarray | None = None) -> np.ndarray:
    """:func:`bootstrap_counts` without the sample itself, ``(replicates, n)``, in single precision for fast products."""
    return bootstrap_counts(n, replicates, seed, group)[1:].astype(np.float32)


def interval(value: float, replicates: np.ndarray, confidence: float = 0.95) -> dict[str, float]:
    """``value`` with the percentile interval of its replicates, as a dict of value, low and high."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(replicates, [tail, 1 - tail])
    return {"value": float(value), "low": float(low), "high": float(high)}


def bounded(name: str, mean: float, replicates: np.ndarray, n: int, bounds: tuple[float, float]) -> np.ndarray:
    """Replicates ``(R,)`` of the mean of n rows, with two more rows drawn beside them, one at each of the ``bounds``.

    So what never happened in these rows is not taken for impossible: a class that is always right, a rule that changes no
    decision. Sources: Agresti and Coull 1998 for shares; Bonett and Price 2012 for paired differences. The draws follow from
    ``name``, the figure's.
    """
    drawn = np.random.default_rng(crc32(name.encode())).poisson(1.0, (2, len(replicates)))
    ends = np.array(bounds) - mean
    wider: np.ndarray = np.clip(replicates + ends @ drawn / (n + 2), *bounds)
    return wider


def mean_interval(
    values: np.ndarray, counts: np.ndarray, name: str = "", bounds: tuple[float, float] | None = None
) -> dict[str, float]:
    """The mean of ``values (n,)`` with its interval under resampled ``counts (R, n)``; for ``bounds`` see `bounded`."""
    return interval(*resampled_mean(values, counts, name, bounds))


def resampled_mean(
    values: np.ndarray, counts: np.ndarray, name: str = "", bounds: tuple[float, float] | None = None
) -> tuple[float, np.ndarray]:
    """The mean of ``values (n,)`` and its replicates ``(R,)``; NaN where a replicate drew none of the rows."""
    mean, drawn = float(values.mean()), counts.sum(axis=1)
    replicates = np.divide(counts @ values.astype(np.float32), drawn, out=np.full(len(counts), np.nan), where=drawn > 0)
    return mean, replicates if bounds is None else bounded(name, mean, replicates, len(values), bounds)
