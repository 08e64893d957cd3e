"""Shares of few samples: what a sample has not shown is not certain."""

import numpy as np
import pytest

from mmbal.diagnosis.figures import Figures
from mmbal.maths.bootstrap import GAIN, SHARE, Bootstrap

N = 20


@pytest.fixture
def figures():
    return Figures(Bootstrap.of(N, replicates=20_000, seed=0), np.zeros(N, dtype=int), ("one",))


def test_always_right_is_not_certainly_right(figures):
    """Of the sample at 0, drawn k ~ Poisson(1) times, each takes 1 / 22; P(k <= 2) = 0.92 and P(k <= 3) = 0.98."""
    found = figures.mean("accuracy", np.ones(N), bounds=SHARE)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(1 - 3 / 22)
    never = figures.by_class("{}", np.zeros(N), bounds=SHARE)["one"]
    assert (never.low, never.high) == (0, pytest.approx(3 / 22))


def test_no_decision_changed_is_not_certainly_no_difference(figures):
    """One more sample at each bound: the 22 have the mean 0 and the standard error sqrt(2 * 22 / 21) / 22."""
    found = figures.mean("gain", np.zeros(N), bounds=GAIN)
    half = 2.0930 * (2 * 22 / 21) ** 0.5 / 22  # t of 19 degrees of freedom
    assert (found.low, found.high) == (pytest.approx(-half, abs=1e-5), pytest.approx(half, abs=1e-5))


def test_the_interval_of_a_difference_is_the_same_for_every_seed():
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=N)
    found = [
        Figures(Bootstrap.of(N, replicates=100, seed=seed), np.zeros(N, dtype=int), ("one",)).mean(
            "gain", values, bounds=GAIN
        )
        for seed in (0, 1)
    ]
    assert found[0] == found[1]


def test_half_right_is_hardly_wider(figures):
    figures.mean("a", np.arange(N) % 2, bounds=SHARE)
    # variance 1/4 / 20 of the share, and 2 * (1/2 / 22)^2 of the two more samples
    assert figures.replicates["a"][1:].std() == pytest.approx((1 / 80 + 2 / 44**2) ** 0.5, rel=0.02)


def test_quantities_without_bounds_stay_as_they_are(figures):
    found = figures.mean("nats", np.full(N, 0.5))
    assert (found.low, found.high) == (0.5, 0.5)


def test_no_share_is_above_one(figures):
    """Where the one wrong row of 20 is not drawn, all are right already: the two more rows can add nothing."""
    found = figures.mean("almost", np.arange(N) > 0, bounds=SHARE)
    assert found.high == 1
    assert figures.mean("hardly", np.arange(N) == 0, bounds=SHARE).low == 0
