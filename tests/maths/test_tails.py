"""Tail indices: a Hill estimate by hand, Pareto samples of known index, and the recursion with a known tail."""

import math

import numpy as np
import pytest

from mmbal.errors import DataError, UsageError
from mmbal.maths.tails import hill, kesten, kesten_index, log_normal_index, scan


def pareto(alpha: float, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(n) ** (-1 / alpha)


def test_hill_is_the_mean_log_excess_over_the_next_largest():
    values = [2.0**i for i in range(12)]  # the ten largest lie 1 .. 10 doublings above the eleventh
    found = hill(np.array(values[::-1]), k=10)
    assert found.value == pytest.approx(1 / (math.log(2) * 5.5))
    assert found.threshold == 2.0
    assert (found.k, found.n) == (10, 12)
    assert math.log(found.high / found.value) == pytest.approx(1.959964 / math.sqrt(10))
    assert math.log(found.value / found.low) == pytest.approx(1.959964 / math.sqrt(10))


@pytest.mark.parametrize("alpha", [0.8, 2.0, 5.0])
def test_the_interval_covers_the_index_of_a_pareto_law(alpha):
    covered = [(e := hill(pareto(alpha, 2000, seed), k=200)).low <= alpha <= e.high for seed in range(200)]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_repeated_values_widen_the_interval_by_the_root_of_their_number():
    values = np.repeat(pareto(2.0, 2000, 1), 9)
    honest, naive = hill(values, k=1800, block=9), hill(values, k=1800)
    width = math.log(honest.high / honest.low) / math.log(naive.high / naive.low)
    assert width == pytest.approx(3.0, rel=0.15)


def test_the_scan_leaves_out_a_body_that_is_no_power_law():
    tail = 4 * pareto(2.5, 300, 3)
    body = np.random.default_rng(3).uniform(0.5, 4.0, 2700)
    values = np.concatenate([body, tail])
    assert 60 <= scan(values) <= 420
    assert hill(values).low < 2.5 < hill(values).high


def test_the_log_normal_recursion_has_the_tail_that_kesten_says():
    random = np.random.default_rng(0)
    mu, sigma = -0.5, 0.7
    truth = log_normal_index(mu, sigma)
    assert truth == pytest.approx(2.0408, abs=1e-4)
    multipliers = np.exp(mu + sigma * random.standard_normal((400, 4000)))
    path = kesten(multipliers, random.standard_normal((400, 4000)))
    found = hill(np.abs(path[-1]), k=150)
    assert found.low < truth < found.high
    assert kesten_index(multipliers.ravel()) == pytest.approx(truth, rel=0.03)


def test_the_recursion_by_hand():
    path = kesten(np.array([2.0, 0.5, -1.0]), np.array([1.0, 3.0, 0.0]), start=1.0, burn_in=1)
    assert path.tolist() == [4.5, -4.5]


def test_kestens_equation_by_hand():
    # |A| is 2 in one case of four and 1/2 else: 2^a / 4 + 3/4 2^-a = 1 has the roots 2^a = 1 and 2^a = 3.
    assert kesten_index(np.array([2.0, -0.5, 0.5, 0.5])) == pytest.approx(math.log2(3))
    assert kesten_index(np.array([0.9, 0.5])) == math.inf
    with pytest.raises(DataError, match="stationary"):
        kesten_index(np.array([2.0, 0.6]))


def test_ten_values_are_too_few():
    with pytest.raises(DataError, match="more than 10 values, and there are 10"):
        hill(np.arange(1.0, 11))


def test_what_has_no_tail_is_refused():
    with pytest.raises(DataError, match="positive"):
        hill(np.array([1.0, -1.0] * 20))
    with pytest.raises(DataError, match="all equal"):
        hill(np.ones(40), k=20)
    with pytest.raises(UsageError, match="outside"):
        hill(pareto(2.0, 40, 0), k=40)
