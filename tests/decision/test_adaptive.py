"""The average of candidate rules: its required gain over the decision as it is, by hand and on known worlds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmbal.decision import cross_fit, fit_rule, rule_from_json, rule_to_json
from mmbal.decision.candidates import AS_IT_IS, PARTS, Fold, held_out_gain
from mmbal.decision.fitting import fit_and_cross_fit, held_out
from mmbal.predictions.synthetic import GaussianWorld

K = len(PARTS)
NONE = np.zeros(K)  # no pseudo-counts
START = np.eye(K)[AS_IT_IS]


def fold(repeat: int, likelihood: list[list[float]]) -> Fold:
    rows = np.log(np.array(likelihood))
    n = len(rows)
    order, all_of_them = np.arange(n), np.ones(n, bool)
    return Fold(
        repeat, order, np.zeros(n, int), order, rows, np.zeros((n, K)), all_of_them, np.zeros((0, K)), PARTS, []
    )


def row(of_sum: float, of_another: float) -> list[float]:
    """Likelihoods of one row: the sum's, one other candidate's, and nothing from the rest."""
    return [of_sum, of_another, *[1e-12] * (K - 2)]


def test_the_gain_is_measured_with_weights_of_other_folds():
    # In fold A the other candidate is better, in fold B the sum. Weights for A come from B (all on the sum) and for B from A
    # (all on the other candidate), so A gains log(0.5 / 0.5) = 0 and B loses log(0.2 / 0.8).
    a, b = fold(0, [row(0.5, 0.9)]), fold(0, [row(0.8, 0.2)])
    assert AS_IT_IS == 0
    assert held_out_gain([a, b], NONE, 2, START) == pytest.approx(math.log(0.2 / 0.8), abs=1e-3)


def test_the_gain_of_two_repeats_is_their_mean_and_each_keeps_to_itself():
    good = [fold(0, [row(0.4, 0.8)]), fold(0, [row(0.4, 0.8)])]  # log 2 a row
    even = [fold(1, [row(0.5, 0.5)]), fold(1, [row(0.5, 0.5)])]  # nothing
    assert held_out_gain(good + even, NONE, 2, START) == pytest.approx(2 * (math.log(2) + 0) / 2, abs=1e-3)


def calibrated(overconfidence: float = 1.0) -> GaussianWorld:
    return GaussianWorld("abcde", ("m0", "m1"), [[1.5] * 5, [1.5] * 5], overconfidence=[1.0, overconfidence])


def test_the_weight_is_the_logistic_function_of_the_gain_beyond_the_required_one():
    rule = fit_rule(calibrated().sample(60, seed=3), "adaptive", required_gain=5.0, allowed_loss=1.0)
    gain, required, weight = (rule.trial[key] for key in ("gain", "required", "weight"))
    assert required == pytest.approx(5 - (60 - 50) / (90 - 50) * 6)
    assert weight == pytest.approx(1 / (1 + math.exp(required - gain)))
    alone = fit_rule(calibrated().sample(50, seed=3), "adaptive", required_gain=1000.0)
    assert [e["weight"] for e in alone.evidence] == pytest.approx(np.eye(K)[AS_IT_IS])


def test_with_few_rows_and_a_sum_that_is_right_the_sum_is_kept():
    """The plain sum is the Bayes layer here: what is lost against it over ten draws of 50 rows must be next to nothing."""
    lost = []
    for seed in range(10):
        data = calibrated().sample(1050, seed=seed, calibration=50 / 1050)
        test = data.select("test")
        rows = np.arange(len(test))
        log_p = fit_rule(data.select("calibration"), "adaptive").apply(test)
        plain = fit_rule(data.select("calibration"), "sum").apply(test)
        lost.append((plain[rows, test.labels] - log_p[rows, test.labels]).mean())
    assert np.mean(lost) < 0.004  # fitted rules lose 0.026 nats


def test_with_few_rows_and_a_sum_that_is_wrong_the_sum_is_left():
    rule = fit_rule(calibrated(overconfidence=5.0).sample(50, seed=0), "adaptive")
    assert rule.trial["weight"] > 0.99
    assert "are required" not in rule.explain()


def test_with_many_rows_a_small_loss_is_allowed():
    rule = fit_rule(calibrated().sample(400, seed=3), "adaptive")
    assert rule.trial["required"] == -1
    assert rule.trial["weight"] == pytest.approx(1 / (1 + math.exp(-1 - rule.trial["gain"])))


def test_a_weight_below_one_is_said_in_words_and_survives_storage():
    rule = fit_rule(calibrated().sample(50, seed=3), "adaptive")
    assert rule.trial["weight"] < 0.5
    assert "3.0 are required, so it gets" in rule.explain()
    assert rule_from_json(rule_to_json(rule)).explain() == rule.explain()


def test_fitting_and_cross_fitting_at_once_change_nothing():
    data = calibrated(overconfidence=5.0).sample(60, seed=3)
    for folds, seed in ((5, 0), (3, 1)):  # the folds of the rule's own fit, and others
        rule, known = fit_and_cross_fit(data, "adaptive", folds, seed)
        assert list(known) == ["adaptive"]
        np.testing.assert_array_equal(held_out(data, known["adaptive"]), cross_fit(data, "adaptive", folds, seed))
        np.testing.assert_array_equal(rule.apply(data), fit_rule(data, "adaptive").apply(data))


@pytest.mark.parametrize(("lost", "strengths"), [(1000.0, [0.3, 0.6, 1.2, 2.4]), (-1000.0, [0.3])])
def test_many_rows_take_single_precision_and_no_matrix_behind_one_that_lost(monkeypatch, lost, strengths):
    """A matrix has lost where the one before is better by ``LOST`` nats: here none has, or each that does not gain 1000."""
    data, test = calibrated().sample(400, seed=3), calibrated().sample(200, seed=4)
    exact = fit_rule(data, "adaptive").apply(test)
    monkeypatch.setattr("mmbal.decision.fused.LARGE", 1)
    monkeypatch.setattr("mmbal.decision.candidates.SHARE", 0.0)
    monkeypatch.setattr("mmbal.decision.candidates.LOST", lost)
    rule, known = fit_and_cross_fit(data, "adaptive")
    assert [e["strength"] for e in rule.evidence if "strength" in e] == strengths
    np.testing.assert_allclose(np.exp(rule.apply(test)), np.exp(exact), atol=0.02)
    matrix = {"matrix"} if 0.6 in strengths else set()
    assert set(known) == {"sum", "best", "pool", "bias", "classwise", "discriminant", "adaptive"} | matrix
    # a candidate by the way is what its own cross-fitting gives
    probabilities = np.exp(held_out(data, known["bias"]))
    np.testing.assert_allclose(probabilities, np.exp(cross_fit(data, "bias")), atol=0.02)


def test_with_many_rows_a_candidate_without_a_share_is_not_fitted_again(monkeypatch):
    data, test = calibrated(overconfidence=5.0).sample(400, seed=3), calibrated(overconfidence=5.0).sample(200, seed=4)
    every = fit_rule(data, "adaptive")
    monkeypatch.setattr("mmbal.decision.fused.LARGE", 1)
    few = fit_rule(data, "adaptive")
    assert few.evidence[AS_IT_IS]["rule"] == "sum"
    assert len(few.evidence) < len(every.evidence)
    rows = np.arange(len(test))
    loss = [-rule.apply(test)[rows, test.labels].mean() for rule in (every, few)]
    assert loss[1] < loss[0] + 0.005
