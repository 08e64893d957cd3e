"""The imbalance index against worlds whose best decision layer is known, and its parts by hand."""

import numpy as np
import pytest

from mmbal.diagnosis.balance import adjusted_p_values, contributions_of, shares_of
from mmbal.diagnosis.coalitions import decision_of
from mmbal.maths.bootstrap import Bootstrap
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

STRENGTH = [[1.6, 1.2, 0.8, 1.4], [0.7, 1.1, 1.3, 0.5]]


def world(overconfidence=1.0, dominance=1.0, capability=STRENGTH, missing=0.0):
    names = ["audio", "video", "text"][: len(capability)]
    return GaussianWorld("abcd", names, capability, overconfidence=overconfidence, dominance=dominance, missing=missing)


def examined(predictions, replicates=300):
    boot = Bootstrap.of(len(predictions), predictions.group, replicates)
    shares = shares_of(decision_of(predictions), predictions, boot)
    return boot, shares


def flagged(shares, level=0.05):
    overall, by_class = adjusted_p_values(shares)
    return any(p is not None and p < level for row in (overall, *by_class) for p in row)


def test_votes_are_less_their_mean_over_the_samples_that_have_the_modality():
    a = np.array([[3.0, 0, 0], [0, 3, 0], [9, 9, 9], [0.0, 6, 0]])
    found = contributions_of(*both(a, present_a=[True, True, True, False]))
    # The mean of the first three is (4, 4, 3).
    expected = np.array([[-1.0, -4, -3], [-4, -1, -3], [5, 5, 6], [0, 0, 0]])
    assert np.allclose(found[:, 0], expected)


def both(a, **arrays):
    p = Predictions.from_arrays({"labels": [0, 1, 2, 1], "logits_a": a, "logits_b": np.eye(4, 3), **arrays})
    return decision_of(p), p


def test_contribution_shares_by_hand():
    # Two classes, votes +-1 of a and +-3 of b in every sample: a has a quarter of the say.
    sign = np.where(np.arange(40) % 2, 1.0, -1.0)
    a, b = np.stack([sign, -sign], 1), np.stack([3 * sign, -3 * sign], 1)
    p = Predictions.from_arrays({"labels": np.arange(40) % 4 // 2, "logits_a": a, "logits_b": b})
    shares = examined(p)[1]
    assert np.allclose(shares.contribution, [0.25, 0.75])
    assert np.allclose(shares.class_contribution[0], [[0.25, 0.75], [0.25, 0.75]])


def test_a_bayes_optimal_layer_is_balanced():
    _, shares = examined(world().sample(3000, seed=1, calibration=0))
    assert shares.index[0] < 0.02
    assert not flagged(shares)


def test_a_common_temperature_is_no_imbalance():
    _, cool = examined(world().sample(1500, seed=1, calibration=0))
    _, hot = examined(world(overconfidence=[5.0, 5.0]).sample(1500, seed=1, calibration=0))
    assert hot.index[0] == pytest.approx(cool.index[0], abs=0.01)
    assert not flagged(hot)


@pytest.mark.parametrize("kind", ["overconfidence", "dominance"])
def test_a_loud_modality_is_found_and_measured(kind):
    w = world(**{kind: [1.0, 4.0]})
    boot, shares = examined(w.sample(2000, seed=2, calibration=0))
    truth = w.imbalance_index()
    assert truth > 0.2
    index = boot.estimate(shares.index)
    assert index.low <= truth <= index.high
    assert flagged(shares)
    # video is four times too loud: audio's votes should count four times video's
    assert shares.relative_weight[0, 0] / shares.relative_weight[0, 1] == pytest.approx(4, rel=0.3)


def test_class_wise_loudness_is_found_where_the_overall_shares_agree():
    w = world(overconfidence=[[4.0, 4.0, 1.0, 1.0], [1.0, 1.0, 4.0, 4.0]], capability=[[1.2] * 4] * 2)
    boot, shares = examined(w.sample(4000, seed=3, calibration=0))
    truth = w.imbalance_index()
    assert np.allclose(w.contribution_shares(), w.contribution_shares(w.bayes_weights), atol=1e-6)
    assert truth > 0.02
    index = boot.estimate(shares.index)
    assert index.low <= truth <= index.high
    assert flagged(shares)


def test_a_useless_modality_is_worth_nothing():
    _, shares = examined(world(capability=[[1.5] * 4, [0.0] * 4]).sample(2000, seed=1, calibration=0))
    assert shares.contribution[0, 1] == pytest.approx(0.0, abs=1e-9)
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=2000)
    logits = {"logits_a": 2 * np.eye(4)[labels] + rng.normal(size=(2000, 4)), "logits_b": rng.normal(size=(2000, 4))}
    _, noisy = examined(Predictions.from_arrays({"labels": labels, **logits}))
    assert noisy.contribution[0, 1] > 0.3
    assert noisy.capability[0, 1] < 0.05
    assert flagged(noisy)


def test_three_modalities_some_missing():
    w = world(overconfidence=[1.0, 3.0, 1.0], capability=[*STRENGTH, [1.0] * 4], missing=[0.1, 0.2, 0.3])
    _, shares = examined(w.sample(3000, seed=4, calibration=0))
    overall, _ = adjusted_p_values(shares)
    assert shares.contribution[0].sum() == pytest.approx(1)
    assert overall[1] < 0.05
    assert shares.contribution[0, 1] > shares.capability[0, 1]


def test_nothing_is_claimed_of_noise_or_of_a_handful():
    rng = np.random.default_rng(5)
    for n in (6, 300):
        arrays = {"logits_a": rng.normal(size=(n, 3)), "logits_b": 5 * rng.normal(size=(n, 3))}
        _, shares = examined(Predictions.from_arrays({"labels": np.arange(n) % 3, **arrays}))
        assert not flagged(shares)


def test_no_errors_to_learn_from_leave_the_weights_open(noisy):
    _, shares = examined(noisy(200, 3, {"a": 60.0, "b": 30.0}))
    assert not flagged(shares)


def test_order_of_modalities_does_not_matter(noisy):
    p = noisy(400, 3, {"a": 2.0, "b": 1.0, "c": 0.5})
    turned = Predictions.from_arrays(
        {"labels": p.labels, "modalities": ["c", "a", "b"], **{f"logits_{m}": p.logits[m] for m in "abc"}}
    )
    first, second = examined(p)[1], examined(turned)[1]
    assert np.allclose(first.capability[0], second.capability[0][[1, 2, 0]], atol=1e-4)
    assert first.index[0] == pytest.approx(second.index[0], abs=1e-4)


def test_intervals_cover_the_truth():
    """24 samples of 600: at 95 % nominal, 19 or fewer hits have a chance below 3 %."""
    w = world(overconfidence=[1.0, 2.0])
    say, worth = w.contribution_shares(), w.contribution_shares(w.bayes_weights)
    hits = {"index": 0, "difference": 0}
    for seed in range(24):
        boot, shares = examined(w.sample(600, seed=seed, calibration=0), replicates=300)
        index = boot.estimate(shares.index)
        difference = boot.estimate(shares.contribution[:, 0] - shares.capability[:, 0])
        hits["index"] += index.low <= w.imbalance_index() <= index.high
        hits["difference"] += difference.low <= say[0] - worth[0] <= difference.high
    assert min(hits.values()) >= 20
