"""Tests of paired differences by their signs, and Holm's correction for several of them."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

Array = np.ndarray


def sign_p(more: int, less: int, midp: bool = True) -> float:
    """Two-sided p of "more and less are equally likely" from how often each was seen: the exact binomial test.

    ``midp`` takes half of the observed table's probability, which keeps the level and loses less power (Fagerland,
    Lydersen and Laake 2013).
    """
    few, n = min(more, less), more + less
    if midp:
        if more == less:
            return float(1 - binom.pmf(few, n, 0.5) / 2) if n else 1.0
        return float(2 * binom.cdf(few, n, 0.5) - binom.pmf(few, n, 0.5))
    return float(min(1.0, 2 * binom.cdf(few, n, 0.5)))


def sign_test(differences: Array, group: Array | None = None) -> float:
    """Mid-p of "differences ``(N,)`` are as often above zero as below"; rows of a ``group (N,)`` count once, by their sum.

    Of two decisions that are right or wrong it is McNemar's test.
    """
    if group is not None:
        differences = np.bincount(np.unique(group, return_inverse=True)[1], differences)
    small = 1e-9  # sums of halves and thirds are rounded
    return sign_p(int((differences > small).sum()), int((differences < -small).sum()))


def holm(p_values: Array | list[float]) -> Array:
    """Holm's step-down correction: adjusted p values in the order given, each at most 1 (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted
