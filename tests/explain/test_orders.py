"""Shapley values from random orders: unbiased, efficient, and within their stated errors of the exact ones."""

from __future__ import annotations

import numpy as np
import pytest

import mmbal
from mmbal.diagnosis import diagnose
from mmbal.errors import UsageError
from mmbal.explain.orders import always, codes_of, cost, draw_orders, estimate, pairs_within
from mmbal.predictions.synthetic import GaussianWorld

M = 8
NAMES = [f"m{k}" for k in range(M)]
WORLD = GaussianWorld(classes=list("abcd"), modalities=NAMES, capability=np.linspace(0.2, 1.2, M))
SEEDS = 30


def test_codes_on_the_way_of_an_order():
    orders = np.array([[[[2, 0, 1]], [[1, 0, 2]]]])
    assert codes_of(orders)[0, :, 0].tolist() == [[0, 4, 5, 7], [0, 2, 3, 7]]


def test_pairs_are_reversed_and_every_order_is_as_likely():
    orders = draw_orders(n=3000, m=3, pairs=2, seed=0)
    np.testing.assert_array_equal(orders[:, 0], orders[:, 1, :, ::-1])
    _, counts = np.unique(orders[:, 0].reshape(-1, 3), axis=0, return_counts=True)
    assert len(counts) == 6
    assert abs(counts - 1000).max() < 120  # four standard deviations of a share of a sixth


def test_the_budget():
    """Six modalities: 14 coalitions always, and 2 x 3 more on the way of each pair of orders."""
    assert len(always(6)) == 14
    assert cost(6, 4) == 38
    assert pairs_within(6, 43) == 4
    with pytest.raises(UsageError, match="budget of 25 is too small"):
        pairs_within(6, 25)


def test_a_game_with_interactions_in_every_order():
    """v(S) = |S|^2 has the value M for each of M equal players; the pairs make that exact, so the error is zero."""
    orders = draw_orders(n=5, m=6, pairs=3, seed=1)
    found = estimate(orders, lambda codes: np.array([[bin(int(c)).count("1") ** 2] for c in codes], dtype=float))
    np.testing.assert_allclose(found.value, 6)
    np.testing.assert_allclose(found.error, 0)


@pytest.fixture(scope="module")
def asked():
    """A world of eight modalities seen by a model that saturates, so that it is not additive; and its exact values."""
    p = WORLD.sample(150, seed=0)

    def predict(batch):
        return 3 * np.tanh(sum(batch[m] @ p.weight[m].T for m in NAMES) / 2)

    def explained(**options):
        return mmbal.explain(predict, dict(p.features), p.labels, classes=list("abcd"), **options)

    return explained


def test_sampled_values_lie_within_their_errors_of_the_exact_ones(asked):
    """Over seeds the differences have the size that the errors state: their mean square is 1, and 95 % are within 2.

    Mean square of 30 x 8 standardised differences: standard deviation about sqrt(2 / 240) = 0.09, more with few pairs.
    """
    exact = diagnose(asked(budget=2**M), bootstrap=50, rule="mean").shapley
    z = []
    for seed in range(SEEDS):
        sampled = asked(seed=seed)
        assert sampled.meta["coalitions"] == "sampled"
        for m in NAMES:
            table = sampled.shapley[m]
            error = np.sqrt((table[:, 2:] ** 2).sum(axis=0)) / len(table)
            truth = np.array([exact.accuracy[m].value, exact.log_likelihood[m].value])
            z.append((table[:, :2].mean(axis=0) - truth) / error)
    z = np.array(z)
    assert ((z**2).mean(axis=0) > 0.7).all()
    assert ((z**2).mean(axis=0) < 1.4).all()
    assert ((np.abs(z) < 2).mean(axis=0) > 0.9).all()
    assert (np.abs(z.mean(axis=0)) < 0.25).all()


def test_what_the_diagnosis_says_of_sampled_values(asked, tmp_path):
    found = asked()
    for table in (sum(found.contribution.values()), found.subsets[tuple(NAMES)]):
        np.testing.assert_allclose(table, found.fused, atol=1e-9)
    found.save(tmp_path / "mine.npz")
    few = {"bootstrap": 50, "rule": "mean"}
    d, exact = diagnose(tmp_path / "mine.npz", **few), diagnose(asked(budget=2**M), **few)
    assert d.data.contributions == "estimated Shapley values of subset_<modalities>"
    for m in NAMES:
        assert 0 < d.shapley.sampling_error["accuracy"][m] < 0.02
        assert d.contribution[m].value == pytest.approx(exact.contribution[m].value, abs=0.02)
        assert d.missing[m].removed.value == pytest.approx(exact.missing[m].removed.value)
    assert not exact.shapley.sampling_error
    assert sum(v.value for v in d.shapley.accuracy.values()) == pytest.approx(
        d.accuracy.fused.value - d.shapley.none["accuracy"], abs=1e-6
    )
    reasons = [n.what for n in d.not_computed]
    assert "shapley.helps" in reasons
