"""Reliability curves and recalibration, against plain loops and worlds whose truth is known."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.reliability import recalibrated, recalibration_gains, reliability_curve


def world(slope: float, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, whether decisions are right with probability expit(slope * logit(confidence)), and folds."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.3, 0.99, n)
    right = (rng.random(n) < expit(slope * logit(confidence))).astype(float)
    return confidence, right, np.arange(n) % 5


def test_the_curve_is_a_kernel_mean_over_ranks():
    confidence, right = np.array([0.9, 0.5, 0.7, 0.7]), np.array([1.0, 0.0, 1.0, 0.0])
    at, accuracy = reliability_curve(Bootstrap.of(4, replicates=1), confidence, right, points=3)
    ranks, width = [3.5 / 4, 0.5 / 4, 2 / 4, 2 / 4], 0.9 / math.sqrt(12) * 4**-0.2
    for k, point in enumerate((0, 0.5, 1)):
        weight = [math.exp(-0.5 * ((rank - point) / width) ** 2) for rank in ranks]
        assert at[k] == pytest.approx(sum(w * c for w, c in zip(weight, confidence, strict=True)) / sum(weight))
        assert accuracy[0, k] == pytest.approx(sum(w * r for w, r in zip(weight, right, strict=True)) / sum(weight))


def test_the_band_holds_the_truth_and_only_for_the_rows_that_were_given():
    confidence, right, _ = world(0.5)
    boot = Bootstrap.of(8000, replicates=300)
    at, accuracy = reliability_curve(boot, confidence, right, np.arange(4000))
    low, high = np.quantile(accuracy[1:], [0.025, 0.975], axis=0)
    truth = expit(0.5 * logit(at))
    assert ((low - 0.01 < truth) & (truth < high + 0.01)).mean() > 0.9
    assert (np.diff(at) > 0).all()


def test_recalibration_finds_the_slope():
    confidence, right, fold = world(0.5)
    assert np.abs(recalibrated(confidence, right, fold) - expit(0.5 * logit(confidence))).max() < 0.06


def test_over_and_under_confidence_are_told_apart():
    def gains(slope: float) -> tuple[float, float]:
        over, under = recalibration_gains(*world(slope))
        assert not (over * under).any(), "a sample counts in one of them"
        return float(over.mean()), float(under.mean())

    over, under = gains(0.4)
    confidence, _, _ = world(0.4)
    truth = expit(0.4 * logit(confidence))
    # what is gained on average: the divergence of the truth from what was stated
    exact = truth * np.log(truth / confidence) + (1 - truth) * np.log((1 - truth) / (1 - confidence))
    assert over + under == pytest.approx(exact.mean(), abs=0.01)
    assert over > under  # confidences above a half are the most, and those are too high
    assert gains(1.0) == pytest.approx((0, 0), abs=2e-3)
    over, under = gains(2.5)
    assert under > over


def test_certain_and_always_right_stays_finite():
    over, under = recalibration_gains(np.ones(20), np.ones(20), np.arange(20) % 5)
    assert np.isfinite(over).all()
    assert np.isfinite(under).all()
