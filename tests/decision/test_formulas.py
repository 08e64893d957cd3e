"""Each rule's formula by hand: numbers worked out on paper or with plain loops, never with the code under test."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from mmbal.decision import fit_rule, rule_from_json
from mmbal.decision.rules.ecml import average_evidence
from mmbal.decision.rules.gate import gated_sum, reliability
from mmbal.decision.rules.mla import entropy_weights
from mmbal.decision.rules.pdf import collaborative_belief, relative_calibration
from mmbal.decision.rules.pool import PRIOR_SCALE, pool_weights
from mmbal.decision.rules.qmf import energy_confidence
from mmbal.decision.rules.tau_norm import normalise
from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.decision.rules.tmc import dempster, opinion
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


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
    np.testing.assert_allclose(pool_weights(votes, labels, np.array([0.5, 0.5])), reference, atol=1e-3)


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


def test_qmf_weighs_by_a_tenth_of_the_energy_which_is_constant_in_the_gradient():
    logits = tensor([0.0, math.log(3)]).requires_grad_()
    assert energy_confidence(logits).item() == pytest.approx(math.log(4) / 10)
    rules.get("qmf")(("x", "y"), ("m",)).combine(logits[None], torch.ones(1, 1)).sum().backward()
    np.testing.assert_allclose(logits.grad[0], [math.log(4) / 10] * 2)


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
        np.exp(fit_rule(data, "stacking", C=0.5).apply(data)), peer.predict_proba(log_p), atol=1e-5
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
    np.testing.assert_allclose(kept.apply(data), log_softmax(scores + data.bias, axis=1))
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
    scores = sum(data.logits.values()) + data.bias
    expected = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(fit_rule(data, "tau_norm", tau=0.0, bias=True).apply(data), expected)
    np.testing.assert_allclose(fit_rule(data, "lws", scale=1e-4).apply(data), expected, atol=1e-5)


def optimum(objective, start):
    """Where a smooth function of a tensor is least, to about 1e-9, by SciPy's L-BFGS and torch's gradients."""

    def value(x):
        point = torch.tensor(x, requires_grad=True)
        found = objective(point)
        found.backward()
        return found.item(), point.grad.numpy()

    options = {"ftol": 1e-16, "gtol": 1e-10, "maxiter": 50_000, "maxfun": 50_000, "maxcor": 100}
    x = np.asarray(start, dtype=np.float64)
    for _ in range(3):  # L-BFGS stops where rounding hides a gain: start again from there
        x = minimize(value, x, jac=True, method="L-BFGS-B", options=options).x
    return torch.tensor(x)


def over_confident(n=70, c=3, seed=0) -> Predictions:
    """Two modalities with raw logits, not log-probabilities; the second is louder than it should be."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    features = {m: rng.normal(size=(n, 4)) + 0.5 * rng.normal(size=(c, 4))[y] for m in "ab"}
    return two(
        1.5 * np.eye(c)[y] + rng.normal(size=(n, c)) + rng.normal(size=(n, 1)),
        3 * (0.7 * np.eye(c)[y] + rng.normal(size=(n, c))),
        labels=y,
        bias=rng.normal(size=c),
        **{f"features_{m}": z for m, z in features.items()},
        **{f"weight_{m}": rng.normal(size=(c, 4)) for m in "ab"},
    )


def smoothed(scores, labels):
    """Negative log-likelihood with one pseudo-row of uniform labels, whose loss is the rows' mean."""
    log_p = torch.log_softmax(scores, dim=1)
    return -log_p[torch.arange(len(labels)), labels].sum() - log_p.mean()


@pytest.mark.parametrize("name", ["bias", "vector", "classwise", "matrix"])
def test_a_log_linear_rule_is_the_optimum_of_the_stated_objective(name):
    """The terms and priors of mmbal/decision/linear.py, written out for two modalities; s = 0.8 nats."""
    data, s = over_confident(), 0.8
    labels, (n, c) = torch.tensor(data.labels), (70, 3)
    raw = torch.stack([torch.tensor(data.logits[m]) for m in "ab"], dim=1)
    alone = torch.log_softmax(raw, dim=2)
    beta = torch.cat([optimum(lambda x, k=k: smoothed(x * alone[:, k], labels), [1.0]) for k in range(2)])
    v = torch.log_softmax(beta[:, None] * alone, dim=2)
    v0 = torch.log((v[:, 0].exp() + v[:, 1].exp()) / 2)
    u = v - v.mean(dim=2, keepdim=True)
    level = beta * (raw.mean(dim=2) - raw.mean(dim=2).mean(dim=0))
    flat, spread = u.reshape(n, 2 * c), (v.exp() - 1 / c).reshape(n, 2 * c)
    mixture, classwise, matrix = name != "vector", name != "bias", name == "matrix"
    # the mean squared length of what a logit sees of a block: over modalities, or over all features
    size_u = sum(float((u[:, m, k] ** 2).mean()) for m in range(2) for k in range(c)) / c
    size_l = sum(float((level[:, m] ** 2).mean()) for m in range(2))
    size_flat, size_spread = (sum(float((x[:, j] ** 2).mean()) for j in range(2 * c)) for x in (flat, spread))

    def parts(x):
        sizes = [2, 1, c, 2 * c, 2 * c, 2 * c * c, 2 * c * c]
        w, w0, b, d, e, f, g = torch.split(x, sizes)
        return w, w0, b, d.reshape(2, c), e.reshape(2, c), f.reshape(2 * c, c), g.reshape(2 * c, c)

    def scores(x):
        w, w0, b, d, e, f, g = parts(x)
        out = w[0] * v[:, 0] + w[1] * v[:, 1] + b
        if mixture:
            out = out + w0 * v0[:, None].squeeze(1)
        if classwise:
            out = out + d[0] * u[:, 0] + d[1] * u[:, 1] + level @ e
        return out + flat @ f + spread @ g if matrix else out

    def objective(x):
        w, w0, b, d, e, f, g = parts(x)
        prior = ((w - 1 / 2) ** 2).sum() / 0.5**2 + (w0**2).sum() / 1.0**2 + (b**2).sum() / 0.5**2
        prior = prior + (d**2).sum() * size_u / s**2 + (e**2).sum() * size_l / (s / 2) ** 2
        prior = prior + (f**2).sum() * size_flat / s**2 + (g**2).sum() * size_spread / (s / 2) ** 2
        return smoothed(scores(x), labels) + prior / 2

    best = optimum(objective, np.zeros(2 + 1 + c + 4 * c + 4 * c * c))
    found = fit_rule(data, name, strength=s)
    np.testing.assert_allclose(found.parameters["beta"], beta, rtol=1e-6)
    np.testing.assert_allclose(found.apply(data), torch.log_softmax(scores(best), dim=1), rtol=0, atol=1e-6)


def test_lws_is_the_optimum_of_the_stated_objective():
    data, s = over_confident(), 0.7
    y = torch.tensor(data.labels)
    parts = [torch.tensor(data.features[m] @ data.weight[m].T) for m in "ab"]

    def scores(f):
        return f[:3] * parts[0] + f[3:] * parts[1] + torch.tensor(data.bias)

    def objective(f):
        log_p = torch.log_softmax(scores(f), dim=1)
        return -log_p[torch.arange(len(y)), y].sum() + ((f - 1) ** 2).sum() / (2 * s**2)

    best = optimum(objective, np.ones(6))
    found = fit_rule(data, "lws", scale=s)
    np.testing.assert_allclose(found.parameters["factor"].ravel(), best, atol=1e-6)
    np.testing.assert_allclose(found.apply(data), torch.log_softmax(scores(best), dim=1), rtol=0, atol=1e-6)


def test_crt_is_the_optimum_of_the_stated_objective():
    """Classes of 10, 20 and 40 rows that weigh the same; a fourth class has no rows and does not count."""
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], [10, 20, 40])
    z = {"a": 2 + 3 * rng.normal(size=(70, 3)) + y[:, None], "b": rng.normal(size=(70, 2)) * [1.0, 9.0]}
    data = two(rng.normal(size=(70, 4)), rng.normal(size=(70, 4)), labels=y, features_a=z["a"], features_b=z["b"])
    scaled = {m: (x - x.mean(axis=0)) / x.std(axis=0) / math.sqrt(x.shape[1]) for m, x in z.items()}
    x = torch.tensor(np.hstack([scaled["a"], scaled["b"]]))
    labels = torch.tensor(y)
    weight = torch.tensor([70 / (3 * {0: 10, 1: 20, 2: 40}[k]) for k in y])

    def scores(theta):
        return x @ theta[:20].reshape(5, 4) + theta[20:]

    def objective(theta):
        loss = -torch.log_softmax(scores(theta), dim=1)[torch.arange(70), labels]
        return (weight * loss).sum() + (theta[:20] ** 2).sum() / (2 * 1.5**2) + (theta[20:] ** 2).sum() / 2

    best = optimum(objective, np.zeros(24))
    found = fit_rule(data, "crt", strength=1.5).apply(data)
    np.testing.assert_allclose(found, torch.log_softmax(scores(best), dim=1), rtol=0, atol=1e-6)


def test_super_learner_is_the_optimum_of_the_stated_objective():
    data = over_confident()
    p = [np.exp(log_softmax(data.logits[m], axis=1)) for m in "ab"]

    def objective(w):
        total = sum(math.log(w * p[0][n, y] + (1 - w) * p[1][n, y]) for n, y in enumerate(data.labels))
        return -total - (math.log(w) + math.log(1 - w)) / 2  # the pseudo-row: half of it is each modality's

    w = minimize_scalar(objective, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-12}).x
    found = fit_rule(data, "super_learner")
    np.testing.assert_allclose(found.parameters["weight"], [w, 1 - w], atol=1e-6)
    np.testing.assert_allclose(found.apply(data), np.log(w * p[0] + (1 - w) * p[1]), atol=1e-6)
    # a row without the first modality has the second alone
    given = found.apply(data.logits, present={"a": np.arange(70) > 0})
    np.testing.assert_allclose(np.exp(given[0]), p[1][0])
