"""Tails and quantiles of the normal, Student's t and the binomial distribution, as tests and intervals need them.

scipy.special has them too, but its import takes longer than the diagnosis of a few hundred samples. These are right to
about 1e-11 of their value, which the tests compare with SciPy.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

TINY = 1e-300  # stands for zero in a denominator
CONVERGED = 1e-15
MOST_TERMS, MOST_STEPS = 100_000, 200

Array = np.ndarray


def normal_cdf(x: Array | float) -> Array:
    """The normal distribution function, entry by entry; an array without axes for a number."""
    z = -np.asarray(x, dtype=np.float64) / math.sqrt(2)
    return np.array([0.5 * math.erfc(v) for v in z.ravel()]).reshape(z.shape)


def normal_quantile(p: float) -> float:
    """The value that a standard normal variable does not exceed with probability ``p``, in (0, 1)."""
    from statistics import NormalDist  # brings decimal numbers and fractions with it

    return NormalDist().inv_cdf(p)


def t_tail(freedom: float, t: float) -> float:
    """The probability that Student's t with this ``freedom`` exceeds ``t``."""
    whole = freedom + t * t
    half = 0.5 * beta_cdf(freedom / 2, 0.5, freedom / whole, t * t / whole)
    return half if t >= 0 else 1 - half


@lru_cache(maxsize=4096)
def t_quantile(freedom: float, p: float) -> float:
    """The value that Student's t does not exceed with probability ``p``, in (0, 1).

    Newton's method from the normal quantile, which is nearer to 0: the tail is convex, so no step goes too far.
    """
    if p < 0.5:
        return -t_quantile(freedom, 1 - p)
    x = normal_quantile(p)
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    for _ in range(MOST_STEPS):
        density = math.exp(scale - (freedom + 1) / 2 * math.log1p(x * x / freedom))
        step = (t_tail(freedom, x) - (1 - p)) / density
        x += step
        if step <= CONVERGED * x:
            break
    return x


def binomial_half_cdf(k: int, n: int) -> float:
    """The probability of at most ``k`` heads in ``n`` throws of a fair coin."""
    return 1.0 if k >= n else beta_cdf(n - k, k + 1, 0.5, 0.5)


def beta_cdf(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction; ``rest`` is 1 - x.

    Source: Abramowitz and Stegun, "Handbook of mathematical functions", 1964, 26.5.8; evaluated after Lentz 1976.
    """
    if x <= 0 or rest <= 0:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(b, a, rest, x)
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            c, d = _not_zero(1 + term / c), 1 / _not_zero(1 + term * d)
            fraction *= c * d
        if abs(c * d - 1) < CONVERGED:
            break
    # x^a (1 - x)^b / B(a, b) by Stirling's formula, so that large logarithms do not cancel
    off = x * b - rest * a
    near = abs(off) < 0.5 * min(a, b)  # else log1p meets -1 where x or 1 - x is below the rounding of 1
    first = math.log1p(off / a) if near else math.log(x * (a + b) / a)
    second = math.log1p(-off / b) if near else math.log(rest * (a + b) / b)
    logarithm = a * first + b * second + 0.5 * math.log(a * b / (2 * math.pi * (a + b)))
    return math.exp(logarithm + _stirling(a + b) - _stirling(a) - _stirling(b)) / a * fraction


def _stirling(z: float) -> float:
    """What Stirling's formula leaves of log Gamma(z)."""
    if z < 15:
        return math.lgamma(z) - (z - 0.5) * math.log(z) + z - 0.5 * math.log(2 * math.pi)
    return 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5) - 1 / (1680 * z**7)


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
