"""The model's own decision as the reference of rules and as one of their inputs, on decisions that are no sum of parts."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from worlds import modular

from mmbal.decision import compare_rules, cross_fit, fit_rule, rule_from_json, rule_to_json
from mmbal.decision.base import centre_of_weights
from mmbal.decision.candidates import candidates_for, without_each
from mmbal.decision.fused import as_it_is, inputs_of, model_decision, only, with_rule
from mmbal.decision.rules.pool import PRIOR_SCALE
from mmbal.errors import ConfigError
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Predictions

OLD = Path(__file__).parent / "old"
TAKING = ("temperature", "pool", "bias", "vector", "classwise", "matrix", "discriminant", "adaptive")


def summed(data: Predictions) -> Predictions:
    return replace(data, fused=data.logits["a"] + data.logits["b"] + np.arange(len(data))[:, None])


def test_a_decision_that_is_the_sum_of_its_parts_is_no_further_input():
    """Up to a constant per row; with or without what stands in the logits of a missing modality."""
    data = summed(modular())
    assert inputs_of(data, "parts and fused") is data
    masked = np.where(np.arange(200)[:, None] % 2 > 0, data.logits["b"], 0.0)
    half = replace(data, present={"b": np.arange(200) % 2 > 0}, fused=data.logits["a"] + masked)
    assert inputs_of(half, "parts and fused") is half
    parts = replace(data, fused=None)
    assert inputs_of(parts, "fused") is parts
    for name in TAKING:
        rule = fit_rule(data, name)
        assert not rule.takes_fused
        np.testing.assert_array_equal(rule.apply(data), fit_rule(replace(data, fused=None), name).apply(data))


def test_a_decision_that_is_not_their_sum_is_the_last_input():
    data = modular()
    both = inputs_of(data, "parts and fused")
    assert both.modalities == ("a", "b", "fused")
    np.testing.assert_array_equal(both.logits["fused"], data.fused)
    assert inputs_of(data, "fused").modalities == ("fused",)
    assert inputs_of(data, "parts") is data
    assert inputs_of(both, "parts and fused") is both
    # what a rule decided is no decision of the model
    assert inputs_of(replace(data, meta={"rule": "pool"}), "fused").modalities == ("a", "b")


def test_the_decision_as_it_is_comes_from_what_is_stated():
    a, b = np.array([[2.0, 0.0]]), np.array([[0.0, 1.0]])
    given = {"labels": np.array([0]), "logits_a": a, "logits_b": b}
    cases = {
        "fused": ({"fused": np.array([[3.0, 0.0]])}, 3.0),
        "coalition": ({"subset_a+b": np.array([[4.0, 0.0]])}, 4.0),
        "contributions": ({"contribution_a": 2 * a, "contribution_b": b}, 3.0),
        "plain sum": ({}, 1.0),
        "plain sum of what is there": ({"present_b": np.array([False])}, 2.0),
    }
    for name, (more, margin) in cases.items():
        expected = [-math.log1p(math.exp(-margin)), -margin - math.log1p(math.exp(-margin))]
        np.testing.assert_allclose(as_it_is(Predictions.from_arrays(given | more))[0], expected, err_msg=name)


@pytest.mark.parametrize("name", TAKING)
def test_a_rule_that_takes_the_decision_needs_it(name):
    data = modular()
    rule = fit_rule(data, name)
    assert rule.takes_fused
    log_p = rule.apply(data)
    again = rule_from_json(json.loads(json.dumps(rule_to_json(rule), allow_nan=False)))
    np.testing.assert_array_equal(again.apply(data), log_p)
    np.testing.assert_allclose(rule.apply({**data.logits, "fused": data.fused}), log_p)
    with pytest.raises(ConfigError, match="the model's own decision"):
        rule.apply(data.logits)
    with pytest.raises(ConfigError, match="the model's own decision"):
        rule.apply(replace(data, fused=None))
    tensors = {m: torch.tensor(x, requires_grad=True) for m, x in {**data.logits, "fused": data.fused}.items()}
    found = rule.apply(tensors)
    np.testing.assert_allclose(found.detach().numpy(), log_p, atol=1e-9)
    found[:, 0].sum().backward()
    assert tensors["fused"].grad.abs().sum() > 0


def test_weights_are_shrunk_towards_the_decision_alone():
    assert centre_of_weights(("a", "b")).tolist() == [0.5, 0.5]
    assert centre_of_weights(("a", "b", "fused")).tolist() == [0, 0, 1]
    data = modular(n=20)
    rule = fit_rule(data, "pool")
    given = {**data.logits, "fused": data.fused}
    v = np.stack([rule.parameters["beta"][k] * log_softmax(given[m], axis=1) for k, m in enumerate(given)], axis=1)

    def objective(w):
        total = 0.0
        for n in range(20):
            s = [sum(w[m] * v[n, m, c] for m in range(3)) for c in range(5)]
            norm = math.log(sum(math.exp(x) for x in s))
            total += norm - s[data.labels[n]] + sum(norm - x for x in s) / (5 * 20)
        return total + sum((x - centre) ** 2 for x, centre in zip(w, (0, 0, 1), strict=True)) / (2 * PRIOR_SCALE**2)

    expected = minimize(objective, [0.1, 0.1, 1], bounds=[(0, None)] * 3, method="L-BFGS-B").x
    np.testing.assert_allclose(rule.parameters["weight"], expected, atol=2e-3)


def test_parts_that_tell_nothing_keep_their_weight_of_zero():
    data = modular()
    silent = replace(data, logits={m: np.zeros((200, 5)) for m in "ab"})
    rule = fit_rule(silent, "bias")
    np.testing.assert_allclose(rule.parameters["weight"][:2], 0, atol=1e-6)
    assert rule.parameters["weight"][2] > 0.5


def test_no_part_tells_anything_and_the_layer_is_no_worse_than_the_model():
    """Before, `adaptive` saw the parts alone here and was right in 20 %."""
    data = modular(n=2200)
    held_out, test = data.take(np.arange(200)), data.take(np.arange(200, 2200))
    found, start = fit_rule(held_out, "adaptive").apply(test), as_it_is(test)
    assert correct(found, test.labels).mean() > correct(start, test.labels).mean() - 0.01
    rows = np.arange(2000)
    assert found[rows, test.labels].mean() > start[rows, test.labels].mean()
    alone = fit_rule(only(held_out, ("a", "b")), "adaptive").apply(test)
    assert correct(alone, test.labels).mean() < 0.3


def test_with_few_rows_and_a_decision_that_is_right_it_is_kept():
    """``fused`` holds the Bayes-optimal log-probabilities: what is lost over five draws of 50 rows is next to nothing."""
    lost = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = rng.integers(4, size=1050)
        score = rng.normal(size=(1050, 4)) + 2 * np.eye(4)[labels]  # the log-likelihood ratio is twice the score
        noise = rng.normal(size=(2, 1050, 4))
        data = Predictions.from_arrays(
            {"labels": labels, "fused": 2 * score, "logits_a": noise[0], "logits_b": noise[1]}
        )
        test, rows = data.take(np.arange(50, 1050)), np.arange(1000)
        log_p = fit_rule(data.take(np.arange(50)), "adaptive").apply(test)
        lost.append((as_it_is(test)[rows, test.labels] - log_p[rows, test.labels]).mean())
    assert np.mean(lost) < 0.004


def test_candidate_zero_is_the_decision_itself():
    data = modular()
    rule = fit_rule(data, "adaptive", required_gain=1000.0, allowed_loss=0.0).members[0]
    assert rule.modalities == ("fused",)
    np.testing.assert_allclose(rule.apply(data), as_it_is(data), atol=1e-12)
    takes = [c.takes for c in candidates_for(("a", "b", "fused"), 3)]
    assert {"fused", "parts and fused", "parts"} == set(takes)
    assert {c.takes for c in candidates_for(("a", "b"), 3)} == {"parts"}


def stated(data: Predictions, seed=3) -> Predictions:
    """With the decision of every coalition."""
    rng = np.random.default_rng(seed)
    return replace(data, subsets={(): np.ones((200, 5)), **{(m,): rng.normal(size=(200, 5)) for m in "ab"}})


def test_a_hidden_modality_changes_the_decision_to_that_of_the_others():
    data = stated(modular())
    less = without_each(inputs_of(data, "parts and fused"))
    for found, hidden, left in zip(less, "ab", "ba", strict=True):
        assert not found.present[hidden].any()
        np.testing.assert_array_equal(found.logits["fused"], data.subsets[(left,)])
    assert without_each(inputs_of(modular(), "parts and fused")) == []  # what is not stated is not guessed


def test_parts_of_a_ruled_decision_come_from_stated_coalitions():
    data = stated(modular())
    rule = fit_rule(data, "pool")
    found = with_rule(data, rule, "pool")
    w = rule.parameters["weight"] * rule.parameters["beta"]
    v = {m: log_softmax(x, axis=1) for m, x in {**data.logits, "fused": data.fused}.items()}
    value = {
        (): log_softmax(w[2] * log_softmax(data.subsets[()], axis=1), axis=1),
        ("a",): log_softmax(w[0] * v["a"] + w[2] * log_softmax(data.subsets[("a",)], axis=1), axis=1),
        ("b",): log_softmax(w[1] * v["b"] + w[2] * log_softmax(data.subsets[("b",)], axis=1), axis=1),
        ("a", "b"): log_softmax(w[0] * v["a"] + w[1] * v["b"] + w[2] * v["fused"], axis=1),
    }
    np.testing.assert_allclose(found.fused, value["a", "b"])
    for names, expected in value.items():
        np.testing.assert_allclose(found.subsets[names], expected)
    # Shapley value of a: half of what it adds to nothing and of what it adds to b; half of the empty coalition beside
    share = (value["a",] - value[()] + value["a", "b"] - value["b",]) / 2 + value[()] / 2
    np.testing.assert_allclose(found.contribution["a"], share)
    assert found.meta["rule"] == "pool"


def test_parts_that_are_not_stated_are_left_out():
    data = modular()
    rule = fit_rule(data, "pool")
    found = with_rule(data, rule, "pool")
    np.testing.assert_allclose(found.fused, rule.apply(data))
    assert found.subsets == {}
    assert found.contribution == {}


def test_coalitions_of_a_weighted_sum_are_sums_of_its_contributions():
    """AUG decides by 0.4 a + 0.6 b: no plain sum, but every part of it is known."""
    data = modular()
    parts = {"a": 0.4 * data.logits["a"], "b": 0.6 * data.logits["b"]}
    data = replace(data, fused=parts["a"] + parts["b"], contribution=parts)
    rule = fit_rule(data, "pool")
    assert rule.takes_fused
    w = rule.parameters["weight"] * rule.parameters["beta"]
    alone = w[0] * log_softmax(data.logits["a"], axis=1) + w[2] * log_softmax(parts["a"], axis=1)
    np.testing.assert_allclose(with_rule(data, rule, "pool").subsets["a",], log_softmax(alone, axis=1))


def test_what_the_model_decided_stays_at_hand_under_a_rule():
    data = stated(modular())
    rule = fit_rule(data, "pool")
    found = with_rule(data, rule, "pool")
    np.testing.assert_array_equal(model_decision(found), data.fused)
    np.testing.assert_allclose(rule.apply(found), found.fused)  # from the model's decision, not from the rule's
    again = with_rule(found, rule, "pool")
    np.testing.assert_array_equal(again.fused, found.fused)
    rows = np.array([5, 3])
    np.testing.assert_array_equal(model_decision(found.take(rows)), data.fused[rows])
    joined = Predictions.concatenate([data.take(rows), found.take(rows)])
    np.testing.assert_array_equal(model_decision(joined), data.fused[np.array([5, 3, 5, 3])])
    np.testing.assert_allclose(fit_rule(found, "bias").apply(found), fit_rule(data, "bias").apply(data), rtol=1e-9)


def test_gains_are_paired_and_over_the_decision_as_it_is():
    data = modular()
    table = {row["rule"]: row for row in compare_rules(data, ["sum", "mean", "bias"], folds=3)}
    rows, start = np.arange(200), log_softmax(data.fused, axis=1)
    log_p = {
        "sum": log_softmax(log_softmax(data.logits["a"], axis=1) + log_softmax(data.logits["b"], axis=1), axis=1),
        "bias": cross_fit(data, "bias", 3),
    }
    assert list(table) == ["fused", "sum", "mean", "bias"]
    right = start.argmax(axis=1) == data.labels
    assert table["fused"]["accuracy"].value == pytest.approx(right.mean())
    for name, found in log_p.items():
        hits = found.argmax(axis=1) == data.labels
        gain = table[name]["accuracy_gain"]
        assert gain.value == pytest.approx(hits.mean() - right.mean(), abs=1e-6)
        nats = (found[rows, data.labels] - start[rows, data.labels]).mean()
        assert table[name]["nll_gain"].value == pytest.approx(nats)
        assert gain.low < gain.least < gain.value < gain.high
    assert table["sum"]["accuracy_gain"].high < -0.4


def test_without_a_fused_decision_the_plain_sum_is_it():
    data = replace(modular(), fused=None)
    rows = compare_rules(data, ["sum", "mean"])
    fused, plain = rows[0], rows[1]
    assert fused["accuracy"].value == plain["accuracy"].value
    assert plain["accuracy_gain"].model_dump() == {"value": 0, "low": 0, "high": 0, "least": 0}


@pytest.mark.parametrize("file", sorted(OLD.glob("*.json")), ids=lambda file: file.stem)
def test_rules_stored_by_earlier_versions_decide_as_they_did(file):
    stored = json.loads(file.read_text())
    data = Predictions.load(OLD / "predictions.npz")
    rule = rule_from_json(stored["rule"])
    np.testing.assert_allclose(rule.apply(data)[:6], stored["log_probabilities"], rtol=0, atol=1e-12)
    assert rule.explain()
    again = rule_from_json(json.loads(json.dumps(rule_to_json(rule))))
    np.testing.assert_array_equal(again.apply(data), rule.apply(data))
