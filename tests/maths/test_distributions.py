"""Tails and quantiles agree with SciPy's, and with sums of exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import special

from mmbal.maths.distributions import binomial_half_cdf, normal_cdf, normal_quantile, t_quantile, t_tail


def test_the_normal_distribution():
    x = np.linspace(-8, 8, 41).reshape(1, -1)
    np.testing.assert_allclose(normal_cdf(x), special.ndtr(x), rtol=1e-12)
    assert float(normal_cdf(0.0)) == 0.5
    for p in (1e-9, 0.025, 0.5, 0.9995):
        assert normal_quantile(p) == pytest.approx(special.ndtri(p), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 57, 499, 99_999])
def test_students_t(freedom):
    for t in (-1.2, 0.0, 1e-3, 0.3, 2.5, 30.0):
        assert t_tail(freedom, t) == pytest.approx(special.stdtr(freedom, -t), rel=2e-11, abs=1e-300)
    for p in (0.025, 0.5, 0.75, 0.975, 0.9995):
        assert t_quantile(freedom, p) == pytest.approx(special.stdtrit(freedom, p), rel=2e-11, abs=1e-13)
    assert t_tail(1, 1.0) == pytest.approx(0.25)  # Cauchy: 1/2 - arctan(1) / pi


@pytest.mark.parametrize(("k", "n"), [(0, 1), (2, 5), (9, 9), (30, 100), (480, 1000)])
def test_throws_of_a_coin(k, n):
    exact = Fraction(sum(math.comb(n, i) for i in range(k + 1)), 2**n)
    assert binomial_half_cdf(k, n) == pytest.approx(float(exact), rel=1e-12)


def test_a_difference_of_rounding_errors_has_no_small_p():
    for freedom in (2.0, 37.5, 400.0):
        assert t_tail(freedom, 1e-17) == pytest.approx(0.5)
        assert t_tail(freedom, 1e-12) == pytest.approx(0.5)
        assert 0 <= t_tail(freedom, 1e9) < 1e-9
