"""Paired tests whose every figure can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from mmbal.errors import DataError
from mmbal.predictions.format import Predictions
from mmbal.report.paired import paired_test

N = 40


def model(*wrong, ids=None, labels=None, seed=None, group=None):
    """Two classes, decided wrongly on the samples ``wrong``, by a fused logit of +-1/2."""
    ids = np.arange(N) if ids is None else np.asarray(ids)
    labels = ids % 2 if labels is None else labels
    decided = np.where(np.isin(ids, wrong), 1 - labels, labels)
    fused = np.where(decided[:, None] == [0, 1], 1.0, -1.0) / 2
    arrays = {"labels": labels, "logits_a": fused, "fused": fused, "ids": ids.astype(str)}
    if group is not None:
        arrays["group"] = group
    predictions = Predictions.from_arrays(arrays)
    if seed is not None:
        predictions.meta["seed"] = seed
    return predictions


def test_two_models_on_the_same_samples():
    # the second is wrong on 8 and 9, where the first is right, and right on 0 to 6, where the first is wrong
    test = paired_test([model(0, 1, 2, 3, 4, 5, 6, 7)], [model(7, 8, 9)], replicates=300)
    assert test.samples == N
    assert test.accuracy.value == pytest.approx(5 / 40)
    # mid-p: of the 9 samples where they differ 2 go against it; 2 P(X <= 2) - P(X = 2), X ~ Binomial(9, 1/2)
    assert test.mcnemar == pytest.approx((2 * (1 + 9 + 36) - 36) / 2**9)
    # each wrong sample costs log((1 + e) / (1 + 1/e)) = 1 nat more than a right one
    assert test.nll.value == pytest.approx(-5 / 40)
    # the standard error of a mean of 7 ones, 2 minus ones and 31 zeros
    error = math.sqrt((9 / 40 - (5 / 40) ** 2) / 40)
    assert test.accuracy.high - test.accuracy.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_a_handful_of_samples_proves_nothing():
    """All of three differences go one way: 2 / 2^3 by the sign test, and no interval."""
    few = [0, 1, 2]
    test = paired_test([model(*few, ids=few)], [model(ids=few)], replicates=100)
    assert test.accuracy.value == 1
    assert test.accuracy.low is None
    assert test.p == pytest.approx(2 / 8)


def test_samples_are_paired_by_id_not_by_position():
    order = np.random.default_rng(0).permutation(N)[:30]
    test = paired_test([model(3, 5)], [model(3, 5, ids=order)], replicates=200)
    assert test.samples == 30
    assert test.accuracy.value == 0
    assert test.mcnemar == 1


OLD, NEW = [(0, 1, 2, 3), (0, 1), (4, 5, 6, 7, 8, 9)], [(0, 1, 2), (0,), (4, 5)]
GAINS = [1 / 40, 1 / 40, 4 / 40]


def expected_p(over_samples, parts):
    """Of the mean gain, from a variance over samples and one over seeds for each list of the seeds' means."""
    variances = [over_samples, *(np.var(part, ddof=1) / len(part) for part in parts)]
    freedom = [N - 1, *(len(part) - 1 for part in parts)]
    degrees = sum(variances) ** 2 / sum(v**2 / f for v, f in zip(variances, freedom, strict=True))
    return 2 * student.sf(np.mean(GAINS) / math.sqrt(sum(variances)), degrees)


def variance_over_samples():
    gained = np.zeros(N)
    for old, new in zip(OLD, NEW, strict=True):
        for i in range(N):
            gained[i] += ((i in old) - (i in new)) / 3
    return gained.var(ddof=1) / N


def test_the_same_seeds_on_both_sides_are_paired():
    first = [model(*w, seed=s) for s, w in enumerate(OLD)]
    second = [model(*w, seed=s) for s, w in enumerate(NEW)]
    test = paired_test(first, second[::-1], replicates=2000)
    assert test.accuracy.value == pytest.approx(sum(GAINS) / 3)
    assert test.p == pytest.approx(expected_p(variance_over_samples(), [GAINS]))
    assert test.mcnemar is None


def test_other_seeds_on_each_side_bring_their_own_spread():
    first = [model(*w, seed=s) for s, w in enumerate(OLD)]
    second = [model(*w, seed=s + 10) for s, w in enumerate(NEW)]
    test = paired_test(first, second, replicates=2000)
    sides = [[1 - len(w) / N for w in OLD], [1 - len(w) / N for w in NEW]]
    assert test.p == pytest.approx(expected_p(variance_over_samples(), sides))


def test_whole_groups_are_drawn():
    group = np.repeat(np.arange(8), 5).astype(str)
    wrong = range(5)  # all of one group: five samples are one piece of evidence
    alone = paired_test([model(*wrong)], [model()], replicates=1000)
    grouped = paired_test([model(*wrong, group=group)], [model(group=group)], replicates=1000)
    assert grouped.accuracy.value == alone.accuracy.value == pytest.approx(5 / 40)
    assert grouped.p > 0.2 > 0.05 > alone.p


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (model(ids=np.arange(N) + 100), "No sample of the predictions has the same id"),
        (model(ids=np.arange(N) // 2), "repeat"),
        (model(labels=(np.arange(N) + 1) % 2), "different labels"),
    ],
)
def test_what_can_not_be_paired_is_said(other, says):
    with pytest.raises(DataError, match=says):
        paired_test([model(1)], [other])
