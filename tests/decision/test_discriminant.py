"""The discriminant rule against loops over rows and scipy's Gaussian density."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import multivariate_normal
from worlds import gaussian, of_logits

from mmbal.decision import fit_rule, scores


def measured(data, beta, scale):
    """Votes ``(N, M, C)`` as the rule's docstring has them."""
    logits = np.stack(list(data.logits.values()), axis=1)
    v = log_softmax(beta[:, None] * log_softmax(logits, axis=2), axis=2)
    return np.exp(v / 2) if scale == "root" else v - v.mean(axis=2, keepdims=True)


def means_without(x, seen, y, c, without=None):
    """Class means ``(C, M, C)`` drawn by one pseudo-row to the typical class, one row left out of its own class."""
    n, m, _ = x.shape
    means = np.zeros((c, m, c))
    for k in range(m):
        centre = x[seen[:, k], k].mean(axis=0)
        rise = np.mean([x[i, k, y[i]] - centre[y[i]] for i in range(n) if seen[i, k]]) * c / (c - 1)
        for label in range(c):
            typical = centre + rise * (np.arange(c) == label) - rise / c
            members = [x[i, k] for i in range(n) if seen[i, k] and y[i] == label and i != without]
            means[label, k] = (sum(members, np.zeros(c)) + typical) / (len(members) + 1)
    return means


@pytest.mark.parametrize("scale", ["log", "root"])
def test_scores_are_gaussian_densities_of_the_votes_that_are_there(scale):
    data = gaussian(n=40, c=3, modalities=2, missing=True, scale=0.6)
    rule = fit_rule(data, "discriminant", scale=scale, shrink=0.4)
    x, seen, y = measured(data, rule.parameters["beta"], scale), data.present_mask(), data.labels
    mean = means_without(x, seen, y, 3)
    residual = np.zeros((40, 6))
    for i in range(40):
        left_out = means_without(x, seen, y, 3, without=i)[y[i]]
        residual[i] = ((x[i] - left_out) * seen[i][:, None]).ravel()
    held = np.repeat(seen.sum(axis=0), 3)
    scatter = np.zeros((6, 6))
    for a in range(6):
        for b in range(6):
            scatter[a, b] = residual[:, a] @ residual[:, b] / np.sqrt(held[a] * held[b])
    covariance = 0.6 * scatter + 0.4 * np.trace(scatter) / 6 * np.eye(6)
    np.testing.assert_allclose(rule.parameters["mean"], mean, atol=1e-12)
    np.testing.assert_allclose(rule.parameters["covariance"], covariance, atol=1e-12)
    log_p = rule.apply(data)
    frequency = (np.bincount(y, minlength=3) + 1) / 43
    for i in np.flatnonzero(seen.any(axis=1))[:20]:
        kept = np.repeat(seen[i], 3)
        density = [
            multivariate_normal.logpdf(x[i].ravel()[kept], mean[c].ravel()[kept], covariance[np.ix_(kept, kept)])
            for c in range(3)
        ]
        expected = softmax(rule.parameters["scale"] * (np.array(density) + np.log(frequency)))
        np.testing.assert_allclose(np.exp(log_p[i]), expected, atol=1e-8)


def test_the_temperature_is_that_of_rows_whose_class_mean_has_not_seen_them():
    data = gaussian(n=25, c=3, modalities=2, scale=2.0)
    rule = fit_rule(data, "discriminant", scale="root")
    x, y = measured(data, rule.parameters["beta"], "root"), data.labels
    seen = np.ones((25, 2), dtype=bool)
    held_out = np.zeros((25, 3))
    for i in range(25):
        means = means_without(x, seen, y, 3)
        means[y[i]] = means_without(x, seen, y, 3, without=i)[y[i]]
        held_out[i] = [
            multivariate_normal.logpdf(x[i].ravel(), means[c].ravel(), rule.parameters["covariance"]) for c in range(3)
        ]
    held_out += rule.parameters["prior"]
    grid = np.linspace(0.01, 1, 991)
    uniform = np.full((25, 3), 1 / 75)  # one pseudo-row's worth, as for every temperature
    target = uniform + np.eye(3)[y]
    loss = [-(target * log_softmax(b * held_out, axis=1)).sum() for b in grid]
    assert 0.01 < grid[np.argmin(loss)] < 1
    np.testing.assert_allclose(rule.parameters["scale"], grid[np.argmin(loss)], atol=2e-3)


def test_a_class_without_rows_is_found_by_those_who_vote_for_it():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    logits = [3 * np.eye(4)[y] + rng.normal(size=(300, 4)) for _ in range(2)]
    rule = fit_rule(of_logits(y, *logits), "discriminant")
    fourth = [3 * np.eye(4)[[3] * 50] + rng.normal(size=(50, 4)) for _ in range(2)]
    assert (rule.apply(of_logits(np.full(50, 3), *fourth)).argmax(axis=1) == 3).mean() > 0.8


def test_it_reads_a_confusion_that_no_weighted_sum_can():
    """A modality that always mixes up two classes is as good as one that does not, for who asks which class says so."""
    rng = np.random.default_rng(1)
    y = rng.integers(6, size=800)
    swapped = 3 * np.eye(6)[np.array([1, 0, 2, 3, 4, 5])[y]] + rng.normal(size=(800, 6))
    data = of_logits(y, swapped, rng.normal(size=(800, 6)))
    held_out, test = data.take(np.arange(200)), data.take(np.arange(200, 800))
    for scale in ("log", "root"):
        found = scores(fit_rule(held_out, "discriminant", scale=scale).apply(test), test.labels)
        assert found["accuracy"] > 0.85
    assert scores(fit_rule(held_out, "pool").apply(test), test.labels)["accuracy"] < 0.7
