"""Tests of paired differences: signs, McNemar's, and Holm's correction for many."""

from __future__ import annotations

import math

import numpy as np

from mmbal.maths.distributions import binomial_half_cdf

Array = np.ndarray


def sign_p(more: int, less: int, midp: bool = True) -> float:
    """Two-sided p of "more and less are equally likely" from how often each was seen: the exact binomial test.

    ``midp`` takes half of the observed table's probability, which keeps the level and loses less power (Fagerland,
    Lydersen and Laake 2013).
    """
    few, n = min(more, less), more + less
    if midp:
        seen = math.exp(math.lgamma(n + 1) - math.lgamma(few + 1) - math.lgamma(n - few + 1) - n * math.log(2))
        if more == less:
            return 1 - seen / 2 if n else 1.0
        return 2 * binomial_half_cdf(few, n) - seen
    return min(1.0, 2 * binomial_half_cdf(few, n))


def sign_test(differences: Array, group: Array | None = None) -> float:
    """Mid-p of "differences ``(N,)`` are as often above zero as below"; rows of a ``group (N,)`` count once, by their sum.

    Of two decisions that are right or wrong it is McNemar's test.
    """
    if group is not None:
        differences = np.bincount(np.unique(group, return_inverse=True)[1], differences)
    small = 1e-9  # sums of halves and thirds are rounded
    return sign_p(int((differences > small).sum()), int((differences < -small).sum()))


def mcnemar(first: Array, second: Array, midp: bool = True) -> float:
    """p of "both are right equally often" from two (N,) boolean arrays of being right on the same samples.

    The exact binomial test on the samples where they differ; for ``midp`` see :func:`sign_p`.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    return sign_p(int((first & ~second).sum()), int((second & ~first).sum()), midp)


def holm(p_values: Array | list[float]) -> Array:
    """Holm's step-down correction: adjusted p values in the order given, each at most 1 (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted
