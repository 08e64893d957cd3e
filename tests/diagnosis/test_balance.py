"""The imbalance index against worlds whose best decision layer is known, and its parts by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.balance import adjusted_p_values, shares_of
from mmbal.diagnosis.coalitions import decision_of
from mmbal.diagnosis.weights import best_fit, contributions_of, fit, fit_weights, layer_of
from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.loglinear import Design, Posterior
from mmbal.maths.newton import newton
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

STRENGTH = [[1.6, 1.2, 0.8, 1.4], [0.7, 1.1, 1.3, 0.5]]


def world(overconfidence=1.0, dominance=1.0, capability=STRENGTH, missing=0.0):
    names = ["audio", "video", "text"][: len(capability)]
    return GaussianWorld("abcd", names, capability, overconfidence=overconfidence, dominance=dominance, missing=missing)


def examined(predictions, replicates=300):
    boot = Bootstrap.of(len(predictions), predictions.group, replicates)
    shares = shares_of(layer_of(decision_of(predictions), predictions), boot)
    return boot, shares


def flagged(shares, level=0.05):
    overall, by_class = adjusted_p_values(shares)
    return any(p is not None and p < level for row in (overall, *by_class) for p in row)


def test_contributions_are_less_their_mean_over_the_samples_that_have_the_modality():
    a = np.array([[3.0, 0, 0], [0, 3, 0], [9, 9, 9], [0.0, 6, 0]])
    found = contributions_of(*both(a, present_a=[True, True, True, False]))
    # The mean of the first three is (4, 4, 3).
    expected = np.array([[-1.0, -4, -3], [-4, -1, -3], [5, 5, 6], [0, 0, 0]])
    assert np.allclose(found[:, 0], expected)


def both(a, **arrays):
    p = Predictions.from_arrays({"labels": [0, 1, 2, 1], "logits_a": a, "logits_b": np.eye(4, 3), **arrays})
    return decision_of(p), p


def test_contribution_shares_by_hand():
    # Two classes, contributions +-1 of a and +-3 of b in every sample: a's share is a quarter.
    sign = np.where(np.arange(40) % 2, 1.0, -1.0)
    a, b = np.stack([sign, -sign], 1), np.stack([3 * sign, -3 * sign], 1)
    p = Predictions.from_arrays({"labels": np.arange(40) % 4 // 2, "logits_a": a, "logits_b": b})
    shares = examined(p)[1]
    assert np.allclose(shares.contribution, [0.25, 0.75])
    assert np.allclose(shares.class_contribution[0], [[0.25, 0.75], [0.25, 0.75]])


def misleading(n, seed, strength=-0.5):
    """Three modalities of three classes; the third tells most of the class that is not the truth."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    own = np.eye(3)[y]
    logits = {"a": 1.2 * own, "b": 0.8 * own, "c": strength * own}
    return Predictions.from_arrays(
        {"labels": y, **{f"logits_{m}": x + rng.normal(size=(n, 3)) for m, x in logits.items()}}
    )


def test_the_weights_are_the_most_probable_that_are_not_negative(monkeypatch):
    """The objective of the page by SciPy, with u and d kept apart, and the index of its weights by plain loops."""
    p = misleading(90, 2)
    parts = contributions_of(decision_of(p), p)
    boot = Bootstrap.of(90, replicates=50)
    for spread in (0.0, 0.4):
        monkeypatch.setattr("mmbal.diagnosis.weights.CLASS_SPREADS", (spread,))
        fitted = fit_weights(parts, p.labels, boot)
        unit = unit_of(parts, p.labels)

        def loss(x, spread=spread, unit=unit):
            u, w, b = x[:3], x[3:12].reshape(3, 3) if spread else np.repeat(x[:3, None], 3, axis=1), x[12:]
            scores = (w * unit * parts).sum(axis=1) + b
            nll = -log_softmax(scores, axis=1)[np.arange(90), p.labels].sum()
            prior = ((u - 1) ** 2).sum() / 3.0**2 + (b**2).sum() / 1.0**2
            return nll + (prior + (((w - u[:, None]) ** 2).sum() / spread**2 if spread else 0)) / 2

        # u is bounded only where it is the weight itself
        bounds = [(None if spread else 0, None)] * 3 + [(0, None)] * 9 + [(None, None)] * 3
        start = np.concatenate([np.full(12, 0.5), np.zeros(3)])
        options = {"ftol": 1e-15, "gtol": 1e-9, "maxfun": 100_000, "maxiter": 10_000}
        x = minimize(loss, start, bounds=bounds, method="L-BFGS-B", options=options).x
        expected = unit * (x[3:12].reshape(3, 3) if spread else np.repeat(x[:3, None], 3, axis=1))
        np.testing.assert_allclose(fitted.replicates[0], expected, atol=2e-4)
        assert (fitted.replicates >= 0).all()
        assert (fitted.free[0, 2] < -0.05).any(), "without the bound the misleading modality has a negative weight"
        # clipping the free weights afterwards is not the same
        assert np.abs(np.maximum(fitted.free[0], 0) - expected).max() > 0.01

        index = 0.0
        for c in range(3):
            size = np.zeros((2, 3))  # claimed and carried
            for i in np.flatnonzero(p.labels == c):
                for m in range(3):
                    for row, x_m in enumerate((parts[i, m], expected[m] * parts[i, m])):
                        size[row, m] += np.abs(x_m - x_m.mean()).mean()
            share = size / size.sum(axis=1, keepdims=True)
            index += np.abs(share[0] - share[1]).sum() / 2 / 3
        assert shares_of(layer_of(decision_of(p), p), boot).index[0] == pytest.approx(index, abs=1e-4)


def test_the_evidence_of_a_spread_is_that_of_common_and_class_wise_weights():
    """Laplace's approximation with u and d as parameters of their own: integrating u out changes nothing."""
    p = misleading(60, 1)
    parts = contributions_of(decision_of(p), p)
    design = Design(parts, parts, np.zeros((60, 0)), bias=True)  # u, d and b
    precision = np.repeat([1 / 9.0, 1 / 0.4**2, 1.0], [3, 9, 3])
    posterior = Posterior(design, np.eye(3)[p.labels], np.repeat([1.0, 0.0], [3, 12]), precision)
    mode = newton(posterior.objective, posterior.mean, tolerance=1e-12)
    value, _, hessian = posterior.objective(mode)
    evidence = (np.log(precision).sum() - np.linalg.slogdet(hessian)[1]) / 2 - value
    found = fit(parts, p.labels, 0.4, np.ones((3, 3)), np.zeros(3))
    assert found.evidence == pytest.approx(evidence, abs=1e-6)
    np.testing.assert_allclose(found.mode[:9].reshape(3, 3), mode[:3, None] + mode[3:12].reshape(3, 3), atol=1e-6)


def test_a_replicate_is_the_fit_to_its_samples_in_first_order():
    """One sample counts a little more: the weights under the bound move as those of a new fit do."""
    p = misleading(90, 2)
    parts = contributions_of(decision_of(p), p)
    base, step = Bootstrap.of(90, replicates=1), 1e-4
    heavier = np.ones((90, 2))
    heavier[7, 1] += step
    moved = fit_weights(parts, p.labels, replace(base, counts=heavier)).replicates
    found = best_fit(unit_of(parts, p.labels) * parts, p.labels)
    posterior = found.posterior

    def fitted(counts):
        weighted = replace(posterior, target=posterior.target * counts[:, None])
        lower = np.repeat([0.0, -np.inf], [len(found.mode) - 3, 3])
        return newton(weighted.objective, np.maximum(found.mode, lower), lower, tolerance=1e-14)

    change = (fitted(heavier[:, 1]) - fitted(heavier[:, 0]))[:3] / step * unit_of(parts, p.labels)
    np.testing.assert_allclose((moved[1] - moved[0])[:, 0] / step, change, atol=1e-3)
    assert change[2] == 0


def test_a_misleading_modality_has_no_capability_and_what_it_claims_is_flagged():
    _, shares = examined(misleading(600, 0))
    assert shares.capability[0, 2] == 0
    assert flagged(shares)


def test_a_capability_near_zero_has_an_interval_that_starts_at_zero():
    """A modality that tells nothing: by chance its best weight is above zero in one sample, and bounded in another."""
    boot, shares = examined(misleading(400, 4, strength=0.0))
    above = boot.estimate(shares.capability[:, 2])
    assert above.value > 0
    assert above.low == 0
    without = shares.relative_weight[:, 2] == 0
    assert 0.05 < without.mean() < 0.95
    assert (shares.capability[without, 2] == 0).all()
    assert (shares.class_capability[without, :, 2] == 0).all()
    boot, shares = examined(misleading(400, 1, strength=0.0))
    bounded = boot.estimate(shares.capability[:, 2])
    assert (bounded.value, bounded.low) == (0, 0)
    assert bounded.high > 0.01


def test_the_standard_error_is_that_of_the_posterior_where_it_is_the_larger(noisy):
    """As many random draws of the weights as it takes to see their spread, along the contrast by plain sums."""
    p = noisy(200, 3, {"a": 60.0, "b": 30.0})  # without errors the bootstrap shows no spread at all
    boot = Bootstrap.of(200, replicates=100)
    parts, labels = contributions_of(decision_of(p), p), p.labels
    shares, fitted = shares_of(layer_of(decision_of(p), p), boot), fit_weights(parts, labels, boot)
    noise = np.random.default_rng(0).normal(size=(4000, len(fitted.deviations)))
    drawn = np.einsum("kp,pmc->kmc", noise, fitted.deviations)
    plain = parts - parts.mean(axis=2, keepdims=True)
    sign = np.sign(plain)
    along = (sign - sign.mean(axis=2, keepdims=True)) / 3 * parts  # of mean_k |.| in the weights, sample by sample
    claimed = np.abs(plain).mean(axis=2).sum(axis=0)
    evidence = np.einsum("kmc,nmc->km", drawn, along)
    contrast = (evidence * claimed.sum() - claimed * evidence.sum(axis=1, keepdims=True)) / claimed.sum() ** 2
    np.testing.assert_allclose(shares.contrast_error[0], contrast.std(axis=0), rtol=0.05)


def unit_of(parts, labels):
    total = parts.sum(axis=1)
    return inverse_temperature(log_softmax(total - total.mean(axis=1, keepdims=True), axis=1), labels)


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
    # video is four times too loud: audio should count four times as much
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


def test_a_useless_modality_has_no_capability():
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
    contribution, capability = w.contribution_shares(), w.contribution_shares(w.bayes_weights)
    hits = {"index": 0, "difference": 0}
    for seed in range(24):
        boot, shares = examined(w.sample(600, seed=seed, calibration=0), replicates=300)
        index = boot.estimate(shares.index)
        difference = boot.estimate(shares.contribution[:, 0] - shares.capability[:, 0])
        hits["index"] += index.low <= w.imbalance_index() <= index.high
        hits["difference"] += difference.low <= contribution[0] - capability[0] <= difference.high
    assert min(hits.values()) >= 20
