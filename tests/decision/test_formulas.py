"""Each rule's formula by hand: numbers worked out on paper or with plain loops, never with the code under test."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from mmbal.data.predictions import Predictions
from mmbal.decision import fit_rule, rule_from_json
from mmbal.decision.ecml import average_evidence
from mmbal.decision.folds import folds_of
from mmbal.decision.gate import gated_sum, reliability
from mmbal.decision.mla import entropy_weights
from mmbal.decision.pdf import collaborative_belief, relative_calibration
from mmbal.decision.pool import PRIOR_SCALE, pool_weights
from mmbal.decision.qmf import energy_confidence
from mmbal.decision.tau_norm import normalise
from mmbal.decision.temperature import inverse_temperature
from mmbal.decision.tmc import dempster, opinion


def log(*p):
    return np.log(np.array(p, dtype=float))


def two(a, b, labels=(0,), **more) -> Predictions:
    return Predictions.from_arrays({"labels": np.array(labels), "logits_a": a, "logits_b": b, **more})


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


ONE = two(log([0.8, 0.2]), log([0.5, 0.5]))
CONFLICT = two(log([0.8, 0.2]), log([0.1, 0.9]))


def test_sum_multiplies_and_mean_averages_probabilities():
    # 0.8 * 0.1 : 0.2 * 0.9 = 0.08 : 0.18
    np.testing.assert_allclose(np.exp(fit_rule(CONFLICT, "sum").apply(CONFLICT)), [[8 / 26, 18 / 26]])
    np.testing.assert_allclose(np.exp(fit_rule(CONFLICT, "mean").apply(CONFLICT)), [[0.45, 0.55]])


def test_mean_is_over_the_present_modalities():
    given = {"a": CONFLICT.logits["a"], "b": CONFLICT.logits["b"]}
    log_p = fit_rule(CONFLICT, "mean").apply(given, present={"b": [False]})
    np.testing.assert_allclose(np.exp(log_p), [[0.8, 0.2]])


def test_best_is_the_more_accurate_and_the_next_best_steps_in():
    data = two(log([0.9, 0.1], [0.9, 0.1]), log([0.6, 0.4], [0.4, 0.6]), labels=(0, 1))
    rule = fit_rule(data, "best")
    np.testing.assert_allclose(np.exp(rule.apply(data)), [[0.6, 0.4], [0.4, 0.6]])
    log_p = rule.apply(data.logits, present={"b": [True, False]})
    np.testing.assert_allclose(np.exp(log_p), [[0.6, 0.4], [0.9, 0.1]])


def test_inverse_temperature_solves_the_smoothed_likelihood_equation():
    # 4 rows of log-odds 2, three right: sigma(2 b) = (3 + 1/2) / (4 + 1), the pseudo-row being half right
    log_p = np.tile(log(math.exp(2) / (1 + math.exp(2)), 1 / (1 + math.exp(2))), (4, 1))
    expected = math.log(0.7 / 0.3) / 2
    assert inverse_temperature(log_p, np.array([0, 0, 0, 1])) == pytest.approx(expected, rel=1e-4)
    assert inverse_temperature(10 * log_p, np.array([0, 0, 0, 1])) == pytest.approx(expected / 10, rel=1e-4)


def test_a_head_that_is_wrong_more_often_than_not_is_silenced():
    assert inverse_temperature(np.tile(log(0.9, 0.1), (4, 1)), np.array([1, 1, 1, 0])) == 0


def test_pool_weights_minimise_their_objective():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=30)
    votes = np.log(rng.dirichlet(np.ones(3), size=(30, 2))) + 1.5 * np.stack(
        [np.eye(3)[labels], 0 * np.eye(3)[labels]], 1
    )

    def objective(w):
        total = 0.0
        for n in range(30):
            s = [w[0] * votes[n, 0, c] + w[1] * votes[n, 1, c] for c in range(3)]
            norm = math.log(sum(math.exp(x) for x in s))
            total += norm - s[labels[n]] + sum(norm - x for x in s) / (3 * 30)
        return total + sum((x - 0.5) ** 2 for x in w) / (2 * PRIOR_SCALE**2)

    reference = minimize(objective, [0.5, 0.5], bounds=[(0, None)] * 2, method="L-BFGS-B").x
    np.testing.assert_allclose(pool_weights(votes, labels), reference, atol=1e-3)


def test_logit_adjustment_takes_the_frequencies_out_once_a_modality():
    data = two(log([0.5, 0.5], [0.5, 0.5], [0.5, 0.5]), log([0.5, 0.5], [0.5, 0.5], [0.5, 0.5]), labels=(0, 0, 1))
    # frequencies with one pseudo-row: 2.5 / 4 and 1.5 / 4; odds of the answer (1.5 / 2.5)^2 = 0.36
    np.testing.assert_allclose(np.exp(fit_rule(data, "logit_adjustment").apply(data))[0], [0.36 / 1.36, 1 / 1.36])


def test_reliabilities_of_a_gate():
    logits, present = tensor([[0.0, math.log(3)], [0.0, 0.0]]), tensor([1.0, 1.0])  # p = (1/4, 3/4) and (1/2, 1/2)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    expected = {
        "confidence": [0.75, 0.5],
        "margin": [0.5, 0.0],
        "entropy": [1 - entropy / math.log(2), 0.0],
        "energy": [math.log(4), math.log(2)],
        "agreement": [0.5, 0.5],
    }
    for by, values in expected.items():
        np.testing.assert_allclose(reliability(logits, present, by)[0].numpy(), values, atol=1e-12)


def test_gated_sum_with_sharpness_zero_is_the_plain_sum():
    log_p = torch.from_numpy(np.stack([CONFLICT.logits["a"], CONFLICT.logits["b"]], axis=1))
    sureness = tensor([0.3, 0.9])
    np.testing.assert_allclose(gated_sum(log_p, tensor([1.0, 1.0]), sureness, 0.0), log_p.sum(dim=1))
    # a = softmax(2 * (0.3, 0.9)) = (1, e^1.2) / (1 + e^1.2), times M = 2
    share = math.exp(1.2) / (1 + math.exp(1.2))
    expected = 2 * ((1 - share) * log(0.8, 0.2) + share * log(0.1, 0.9))
    np.testing.assert_allclose(gated_sum(log_p, tensor([1.0, 1.0]), sureness, 2.0)[0], expected)


def test_mla_weighs_by_entropy_per_sample():
    logits = tensor([[0.0, math.log(3)], [0.0, 0.0]])
    h = [-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), math.log(2)]
    raw = [math.exp(max(h) - x) for x in h]
    np.testing.assert_allclose(entropy_weights(logits, tensor([1.0, 1.0]))[0], np.array(raw) / sum(raw))


def test_qmf_confidence_is_a_tenth_of_the_energy_and_has_no_gradient():
    logits = tensor([0.0, math.log(3)]).requires_grad_()
    confidence = energy_confidence(logits)
    assert confidence.item() == pytest.approx(math.log(4) / 10)
    assert not confidence.requires_grad


def test_pdf_beliefs_and_relative_calibration_of_two_modalities():
    t = tensor([0.8, 0.5])
    total = math.log(0.8) + math.log(0.5)
    expected = [0.8 + math.log(0.5) / total, 0.5 + math.log(0.8) / total]
    np.testing.assert_allclose(collaborative_belief(t, tensor([1.0, 1.0]))[0], expected)
    p = tensor([[0.9, 0.1], [0.6, 0.4]])  # mean |p - 1/2| is 0.4 and 0.1
    np.testing.assert_allclose(relative_calibration(p, tensor([1.0, 1.0]))[0], [1.0, 0.25])


def test_dempster_of_two_opinions():
    first, second = opinion(tensor([2.0, 0.0])), opinion(tensor([0.0, 1.0]))
    # b1 = (1/2, 0), u1 = 1/2; b2 = (0, 1/3), u2 = 2/3; K = 1/6; b = (1/2 * 2/3, 1/3 * 1/2) / (5/6), u = 1/3 / (5/6)
    belief, uncertainty = dempster(first, second)
    np.testing.assert_allclose(belief[0], [0.4, 0.2])
    np.testing.assert_allclose(uncertainty[0], [0.4])


def test_ecml_averages_uniformly_over_three_views():
    evidence = torch.tensor([[[3.0, 0.0], [0.0, 3.0], [0.0, 6.0]]])
    np.testing.assert_allclose(average_evidence(evidence, torch.ones(1, 3))[0], [1.0, 3.0])
    np.testing.assert_allclose(average_evidence(evidence, torch.tensor([[1.0, 0.0, 1.0]]))[0], [1.5, 3.0])


def test_stacking_is_the_logistic_regression_of_scikit_learn():
    rng = np.random.default_rng(3)
    y = np.arange(60) % 4
    data = two(2 * np.eye(4)[y] + rng.normal(size=(60, 4)), 3 * rng.normal(size=(60, 4)), labels=y)
    log_p = np.concatenate([log_softmax(x, axis=1) for x in data.logits.values()], axis=1)
    peer = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(log_p, y)
    np.testing.assert_allclose(
        np.exp(fit_rule(data, "stacking", C=0.5).apply(data)), peer.predict_proba(log_p), atol=1e-3
    )


def test_tau_norm_divides_rows_by_a_power_of_their_length():
    weight = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(normalise(weight, 1.0), [[0.6, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(normalise(weight, 0.5), weight / math.sqrt(5))


def test_tau_norm_drops_the_bias_unless_it_is_asked_for():
    data = with_head(bias=np.array([0.5, -0.5]))
    unit = {m: w / np.linalg.norm(w, axis=1, keepdims=True) for m, w in data.weight.items()}
    scores = sum(data.features[m] @ unit[m].T for m in "ab")
    dropped, kept = (fit_rule(data, "tau_norm", tau=1.0, bias=bias) for bias in (False, True))
    np.testing.assert_allclose(dropped.apply(data), log_softmax(scores, axis=1))
    np.testing.assert_allclose(kept.apply(data), log_softmax(scores + [0.5, -0.5], axis=1))
    assert not fit_rule(data, "tau_norm").parameters["bias"].any()


def test_tau_is_chosen_for_the_scores_that_are_used():
    data = with_head(bias=np.array([-2.0, 0.0]))

    def loss(tau, bias):
        scores = sum(z @ normalise(data.weight[m], tau).T for m, z in data.features.items()) + bias
        return -log_softmax(scores, axis=1)[np.arange(len(data)), data.labels].mean()

    grid = np.linspace(0, 1, 11)
    without, with_bias = (min(grid, key=lambda tau, b=b: loss(tau, b)) for b in (0.0, data.bias))
    assert without != with_bias
    assert float(fit_rule(data, "tau_norm").parameters["tau"]) == pytest.approx(without)
    assert float(fit_rule(data, "tau_norm", bias=True).parameters["tau"]) == pytest.approx(with_bias)


def test_a_tau_norm_rule_of_version_0_1_0_keeps_the_bias_that_it_was_stored_with():
    stored = {
        "format": "mmbal.rule",
        "name": "tau_norm",
        "version": 1,
        "classes": ["0", "1"],
        "modalities": ["a"],
        "state": {"tau": 1.0, "bias": [0.5, -0.5], "weight_a": [[0.6, 0.8], [0.0, 1.0]]},
    }
    # o = (0.6 + 1.6 + 0.5, 2 - 0.5)
    expected = log_softmax([[2.7, 1.5]], axis=1)
    np.testing.assert_allclose(rule_from_json(stored).apply({"a": np.array([[1.0, 2.0]])}), expected)


def with_head(bias):
    """Features and the weights of a head with this bias: 6 rows, 2 classes, 2 modalities."""
    rng = np.random.default_rng(0)
    z = {"a": rng.normal(size=(6, 3)), "b": rng.normal(size=(6, 2))}
    w = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=(2, 2))}
    return two(
        z["a"] @ w["a"].T,
        z["b"] @ w["b"].T,
        labels=(0, 1, 0, 1, 0, 1),
        bias=bias,
        **{f"features_{m}": z[m] for m in z},
        **{f"weight_{m}": w[m] for m in w},
    )


def test_a_head_rule_with_tau_0_is_the_head_itself():
    data = with_head(bias=np.array([0.5, -0.5]))
    scores = sum(data.logits.values()) + [0.5, -0.5]
    expected = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(fit_rule(data, "tau_norm", tau=0.0, bias=True).apply(data), expected)
    np.testing.assert_allclose(fit_rule(data, "lws", scale=1e-4).apply(data), expected, atol=1e-5)


def test_folds_are_even_by_class_and_keep_groups_together():
    labels = np.repeat([0, 1, 2], [10, 5, 1])
    fold = folds_of(labels, 5)
    assert sorted(np.bincount(fold)) == [3, 3, 3, 3, 4]
    assert (np.bincount(fold[labels == 0]) == 2).all()
    assert (np.bincount(fold[labels == 1]) == 1).all()
    group = np.arange(16) // 2
    fold = folds_of(labels, 3, group=group)
    assert all(len(set(fold[group == g])) == 1 for g in range(8))
    assert np.bincount(fold).max() <= 6
