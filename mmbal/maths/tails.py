"""Heavy tails: how slowly the chance of large values falls, and a random recursion whose tail is known.

Hodgkinson and Mahoney, "Multiplicative Noise and Heavy Tails in Stochastic Optimization", ICML 2021, arXiv 2006.06293:
stochastic optimisation is a random recursion  W <- A W + B, and multiplicative noise A alone gives its stationary law a
power tail, P(|W| > t) ~ t^-alpha. The index solves Kesten's equation (Acta Mathematica 1973)

    E |A|^alpha = 1,        for A ~ LogNormal(mu, sigma^2):  alpha = -2 mu / sigma^2.

A smaller alpha is a heavier tail: moments of order alpha and above do not exist.
"""

from __future__ import annotations

import math

import numpy as np
from pydantic import AliasChoices, Field

from mmbal.errors import DataError, UsageError
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.distributions import normal_quantile

FEWEST = 10  # with fewer order statistics a tail index is meaningless
Z95 = normal_quantile(0.975)
LIGHTEST = 1e3  # an index beyond which there is no power tail


class TailIndex(Estimate):
    """A tail index with its 95 % interval; estimated from the ``k`` largest of ``n`` values, those above ``threshold``."""

    value: float = Field(validation_alias=AliasChoices("value", "alpha"))  # "alpha" in files of version 0.1.0
    low: float
    high: float
    k: int
    n: int
    threshold: float

    @property
    def spread(self) -> float:
        """Standard error of the index's logarithm."""
        return math.log(self.high / self.low) / (2 * Z95)


def hill(values: np.ndarray, k: int | None = None, *, block: int = 1, confidence: float = 0.95) -> TailIndex:
    """Hill's estimate of the tail index of positive ``values (n,)``:  1/alpha = mean_{i<=k} log(x_(i) / x_(k+1)).

    Without ``k`` it is scanned (:func:`scan`). The interval of log alpha is normal with variance 1/k for independent
    values; with ``block`` > 1 values that follow each other may depend on each other within so many steps, and the
    variance is that of sums over blocks. Raises DataError where values are not positive and finite, or hardly vary, and
    UsageError for a k outside ``[10, n - 1]``. Source: Hill, Annals of Statistics 1975; Hsing, same journal, 1991.
    """
    values = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise DataError("A tail index needs positive, finite values.")
    n = len(values)
    if n <= FEWEST:
        raise DataError(f"A tail index needs more than {FEWEST} values, and there are {n}.")
    k = scan(values) if k is None else k
    if not FEWEST <= k < n:
        raise UsageError(f"k = {k} is outside [{FEWEST}, {n - 1}].")
    threshold = float(np.partition(values, n - k - 1)[n - k - 1])
    excess = np.log(np.maximum(values / threshold, 1.0))
    gamma = excess.sum() / k
    if gamma <= 0:
        raise DataError("The largest values are all equal: they have no tail.")
    # The estimate is a ratio of sums, of excesses and of exceedances; its residual has mean zero.
    residual = excess / gamma - (excess > 0)
    sums = np.add.reduceat(residual, np.arange(0, n, block)) if block > 1 else None
    variance = 1 / k if sums is None else max(float((sums**2).sum()) / k**2, 1 / k)
    half = normal_quantile(0.5 + confidence / 2) * math.sqrt(variance)
    alpha = 1 / gamma
    low, high = (float(alpha * math.exp(sign * half)) for sign in (-1, 1))
    return TailIndex(value=float(alpha), low=low, high=high, k=k, n=n, threshold=threshold)


def scan(values: np.ndarray, largest_share: float = 0.1) -> int:
    """The ``k`` whose fitted power law lies nearest to the k largest values (Kolmogorov-Smirnov distance).

    At most ``largest_share`` of the values count as the tail: more would reach into the body of the law and bias the
    index. The interval covers sampling only, not this bias. Source: Clauset, Shalizi and Newman, SIAM Review
    2009, arXiv 0706.1062, section 3.3.
    """
    logs = np.sort(np.log(np.asarray(values, dtype=np.float64)))[::-1]
    last = min(len(logs) - 1, max(FEWEST, int(largest_share * len(logs))))
    tried = np.unique(np.geomspace(FEWEST, last, 60).astype(int))
    return int(min(tried, key=lambda k: _distance(logs, k)))


def _distance(logs: np.ndarray, k: int) -> float:
    excess = logs[:k] - logs[k]
    if excess.mean() <= 0:
        return math.inf
    survival = np.exp(-excess / excess.mean())
    ranks = np.arange(k + 1) / k
    # Excesses fall, so the share of larger ones jumps from ranks[i] to ranks[i + 1] at the i-th.
    return float(np.maximum(np.abs(survival - ranks[:-1]), np.abs(survival - ranks[1:])).max())


def kesten(
    multipliers: np.ndarray, additions: np.ndarray, start: np.ndarray | float = 0.0, burn_in: int = 0
) -> np.ndarray:
    """The path of  W <- A W + B  after ``burn_in`` steps: ``(T - burn_in, ...)`` of scalar chains ``(T, ...)``.

    ``multipliers`` and ``additions`` hold A and B of each step, of the same shape.
    """
    state = np.broadcast_to(np.asarray(start, dtype=np.float64), multipliers.shape[1:]).copy()
    path = np.empty(multipliers.shape, dtype=np.float64)
    for step, (a, b) in enumerate(zip(multipliers, additions, strict=True)):
        state = a * state + b
        path[step] = state
    return path[burn_in:]


def kesten_index(multipliers: np.ndarray) -> float:
    """The tail index that a sample ``(n,)`` of A gives to  W <- A W + B: the root alpha > 0 of  mean |A|^alpha = 1.

    Infinite where |A| never exceeds 1 (no power tail). Raises DataError where mean log |A| >= 0: nothing is stationary.
    """
    from scipy.optimize import brentq  # slow to import, and needed here alone

    magnitude = np.abs(np.asarray(multipliers, dtype=np.float64))
    logs = np.log(magnitude[magnitude > 0])
    if len(logs) == len(magnitude) and logs.mean() >= 0:
        raise DataError("The recursion has no stationary law: mean log |A| is not negative.")
    if logs.max(initial=-math.inf) <= 0:
        return math.inf

    def gap(alpha: float) -> float:
        powers = alpha * logs
        top = powers.max()
        return float(top + math.log(np.exp(powers - top).sum()) - math.log(len(magnitude)))

    high = 1.0
    while gap(high) < 0:
        high *= 2
        if high > LIGHTEST:
            return math.inf
    low = high / 2
    while gap(low) > 0:
        low /= 2
    return float(brentq(gap, low, high))


def log_normal_index(mu: float, sigma: float) -> float:
    """The tail index where A ~ LogNormal(mu, sigma^2) and mu < 0:  -2 mu / sigma^2."""
    return -2 * mu / sigma**2
