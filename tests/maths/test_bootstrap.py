"""Intervals and tests against numbers worked out by hand or with plain loops."""

import numpy as np
import pytest

from mmbal.errors import UsageError
from mmbal.maths.bootstrap import Bootstrap, Estimate, Mean, mean_interval
from mmbal.maths.resampling import as_weights, bootstrap_counts, drawn_sums
from mmbal.maths.significance import holm, mcnemar


def test_counts_start_with_the_sample_and_each_replicate_draws_n():
    counts = bootstrap_counts(7, 50, seed=3)
    assert counts.shape == (7, 51)
    assert (counts[:, 0] == 1).all()
    assert (counts.sum(axis=0) == 7).all()
    assert len(np.unique(counts, axis=1).T) > 40


def test_groups_stay_together():
    group = np.array(list("aabbbc"))
    counts = bootstrap_counts(6, 30, seed=0, group=group)
    for name in "abc":
        rows = counts[group == name]
        assert (rows == rows[:1]).all()
    assert (counts[[0, 2, 5], 1:].sum(axis=0) == 3).all()


def test_sums_equal_a_plain_loop():
    values = np.random.default_rng(0).normal(size=(9, 2))
    boot = Bootstrap.of(9, replicates=200, seed=1)
    expected = [[sum(c * v for c, v in zip(row, values[:, k], strict=True)) for k in range(2)] for row in boot.counts.T]
    assert np.allclose(boot.sums(values), expected)


def test_sums_are_the_same_where_the_table_is_too_large_to_be_kept(monkeypatch):
    monkeypatch.setattr("mmbal.maths.resampling.AT_ONCE", 4)  # samples at a time, of 9
    counts, values = bootstrap_counts(9, 20, seed=1), np.random.default_rng(0).normal(size=(9, 2))
    assert as_weights(counts).dtype == np.float64
    np.testing.assert_allclose(drawn_sums(counts, values), counts.T.astype(float) @ values, atol=1e-5)
    some = np.arange(9) % 3 > 0
    for weights in (counts, as_weights(counts)):
        for rows in (some, np.flatnonzero(some)):
            found = drawn_sums(weights, values[some], rows)
            np.testing.assert_allclose(found, counts[some].T.astype(float) @ values[some], atol=1e-5)


def test_class_means_are_means_within_the_class_and_nan_without_samples():
    boot = Bootstrap.of(4, replicates=10)
    means = boot.class_means(np.array([1.0, 2.0, 10.0, 30.0]), np.array([0, 0, 2, 2]), classes=3)
    assert means[0, 0] == 1.5
    assert np.isnan(means[:, 1]).all()
    assert means[0, 2] == 20.0
    assert boot.estimate(means[:, 1]) is None


def test_interval_of_a_mean_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    found = Bootstrap.of(400, replicates=2000).mean(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_grouped_interval_is_wider_where_groups_differ():
    group = np.repeat(np.arange(10), 40)
    values = np.random.default_rng(0).normal(size=10)[group]
    alone = Bootstrap.of(400, replicates=500).mean(values)
    grouped = Bootstrap.of(400, group, replicates=500).mean(values)
    assert grouped.high - grouped.low > 4 * (alone.high - alone.low)


def test_too_few_groups_resample_samples_and_say_so():
    assert Bootstrap.of(8, np.repeat([0, 1], 4), replicates=3).unit == "sample"
    assert Bootstrap.of(10, np.repeat(np.arange(5), 2), replicates=3).unit == "group"


def test_paired_difference_of_equal_answers_is_exactly_zero():
    right = np.random.default_rng(0).random(50) < 0.6
    assert Bootstrap.of(50).difference(right, right) == Estimate(value=0.0, low=0.0, high=0.0)


def test_the_normal_interval_of_a_mean_by_hand():
    # mean 3, squared deviations 4 + 1 + 0 + 1 + 4 = 10: standard error sqrt(10 / 4 / 5)
    found = mean_interval(np.array([1.0, 2, 3, 4, 5]))
    assert found.value == 3
    assert found.high - 3 == pytest.approx(1.959964 * (10 / 4 / 5) ** 0.5)
    assert 3 - found.low == pytest.approx(found.high - 3)
    assert mean_interval(np.array([2.0])) == Estimate(value=2.0)


def test_sign_needs_the_whole_interval_on_one_side():
    assert Estimate(value=1, low=0.1, high=2).sign == 1
    assert Estimate(value=-1, low=-2, high=-0.1).sign == -1
    assert Estimate(value=1, low=-0.1, high=2).sign == 0
    assert Estimate(value=1).sign == 0


def test_p_of_a_clear_and_of_no_effect():
    noise = np.random.default_rng(1).normal(size=400)
    noise -= noise.mean()
    each = np.arange(400)
    assert Mean.of(noise, each).p > 0.99
    # A mean four standard errors from zero: 2 * Phi(-4) = 6.3e-5 in a normal tail, a little more in that of t
    assert 6.3e-5 < Mean.of(noise + 4 * noise.std(ddof=1) / 20, each).p < 9e-5


@pytest.mark.parametrize(("samples", "groups", "p"), [(3, 3, 1 / 4), (12, 12, 2**-11), (12, 6, 2**-5), (4, 1, 1)])
def test_few_samples_that_all_agree_prove_little(samples, groups, p):
    """The sign test: all n differences have one sign with chance 2 / 2^n where there is no difference."""
    assert Mean.of(np.ones(samples), np.arange(samples) % groups).p == pytest.approx(p)
    assert Mean.of(np.zeros(samples), np.arange(samples) % groups).p == 1


def test_a_jackknife_of_no_columns_has_none():
    assert Bootstrap.of(5).jackknife().sums(np.zeros((5, 0))).shape == (6, 0)


def test_mcnemar_by_hand():
    first = np.array([1] * 5 + [0] * 1 + [1] * 4, dtype=bool)
    second = np.array([0] * 5 + [1] * 1 + [1] * 4, dtype=bool)
    # 5 against 1 of 6 discordant: 2 * (C(6,0) + C(6,1)) / 64 = 14/64; the mid-p takes off C(6,1)/64.
    assert mcnemar(first, second, midp=False) == pytest.approx(14 / 64)
    assert mcnemar(first, second) == pytest.approx(8 / 64)
    assert mcnemar(second, first) == pytest.approx(8 / 64)
    assert mcnemar(first, first) == 1.0
    # One against one: the exact p is 1, the mid-p 1 - (1/2) * C(2,1)/4 = 0.75.
    assert mcnemar([1, 0], [0, 1], midp=False) == 1.0
    assert mcnemar([1, 0], [0, 1]) == pytest.approx(0.75)


def test_holm_by_hand():
    assert np.allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert np.allclose(holm([0.5, 0.9]), [1.0, 1.0])


@pytest.mark.parametrize("bad", [{"n": 0}, {"replicates": 0}, {"confidence": 1.0}])
def test_bad_arguments_are_refused(bad):
    with pytest.raises(UsageError, match="bootstrap needs"):
        Bootstrap.of(**({"n": 5} | bad))
