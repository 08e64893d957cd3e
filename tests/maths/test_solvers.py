"""The convex solvers against independent optimisers and closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from mmbal.maths.loglinear import Design, maximum_a_posteriori
from mmbal.maths.mixture import mixture_weights
from mmbal.maths.newton import newton
from mmbal.maths.resampling import mean_interval, resampled_counts
from mmbal.maths.scoring import correct, expected_calibration_error, scores


@pytest.mark.parametrize("seed", range(20))
def test_projected_newton_solves_non_negative_least_squares(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(12, 6)) @ (np.eye(6) + 0.9)  # strongly correlated columns: several weights end at zero
    b = rng.normal(size=12)

    def objective(x):
        r = a @ x - b
        return 0.5 * r @ r, a.T @ r, a.T @ a

    found = newton(objective, np.full(6, 0.2), lower=0.0, tolerance=1e-10)
    reference, norm = nnls(a, b)
    assert np.linalg.norm(a @ found - b) <= norm + 1e-5
    np.testing.assert_allclose(found, reference, atol=1e-3)


def test_newton_finds_the_minimum_of_a_quartic():
    found = newton(lambda x: (float(x[0] ** 4 - x[0]), 4 * x**3 - 1, np.diag(12 * x**2 + 1e-9)), np.array([5.0]))
    assert found[0] == pytest.approx(0.25 ** (1 / 3), abs=1e-4)


def test_map_of_all_blocks_agrees_with_plain_loops_and_lbfgs():
    rng = np.random.default_rng(0)
    n, k, m, d, c = 25, 2, 2, 3, 3
    experts, columns, features = rng.normal(size=(n, k, c)), rng.normal(size=(n, m, c)), rng.normal(size=(n, d))
    labels = rng.integers(c, size=n)
    mean, precision = rng.normal(size=k + m * c + d * c + c), rng.uniform(0.5, 2, size=k + m * c + d * c + c)

    def objective(flat):
        w, rest = flat[:k], flat[k:]
        dd, rest = rest[: m * c].reshape(m, c), rest[m * c :]
        f, b = rest[: d * c].reshape(d, c), rest[d * c :]
        total = 0.5 * (precision * (flat - mean) ** 2).sum()
        for i in range(n):
            o = b.copy()
            for j in range(k):
                o += w[j] * experts[i, j]
            for j in range(m):
                o += dd[j] * columns[i, j]
            for j in range(d):
                o += f[j] * features[i, j]
            total += np.log(np.exp(o).sum()) - o[labels[i]]
        return total

    found = maximum_a_posteriori(
        Design(experts, columns, features, True), np.eye(c)[labels], mean, precision, tolerance=1e-9
    )
    reference = minimize(objective, mean, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-8}).x
    np.testing.assert_allclose(found, reference, atol=2e-3)
    assert objective(found) <= objective(reference) + 1e-5


def test_mixture_weights_of_two_components_in_closed_form():
    # three rows that only the first explains, one that only the second does: weights 3/4 and 1/4
    likelihood = np.log(np.array([[1, 1e-12], [1, 1e-12], [1, 1e-12], [1e-12, 1]]))
    np.testing.assert_allclose(mixture_weights(likelihood), [0.75, 0.25], atol=1e-3)
    # with one pseudo-row each: 4/6 and 2/6; without any rows the pseudo-counts alone
    np.testing.assert_allclose(mixture_weights(likelihood, 1.0), [4 / 6, 2 / 6], atol=1e-3)
    np.testing.assert_allclose(mixture_weights(np.zeros((0, 2)), np.array([3.0, 1.0])), [0.75, 0.25], atol=1e-3)


def test_scores_by_hand():
    log_p = np.log([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    found = scores(log_p, np.array([0, 0, 0]))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["nll"] == pytest.approx(-(np.log(0.7) + np.log(0.4) + np.log(0.9)) / 3)
    assert found["brier"] == pytest.approx((2 * 0.09 + 2 * 0.36 + 2 * 0.01) / 3)
    assert found["ece"] == pytest.approx((0.3 + 0.6 + 0.1) / 3)  # three rows, three bins


def test_calibration_error_bins_have_equal_mass():
    p = np.column_stack([np.linspace(0.51, 0.99, 30), 1 - np.linspace(0.51, 0.99, 30)])
    labels = (np.arange(30) % 2).astype(int)
    gap = (p.argmax(axis=1) == labels) - p.max(axis=1)
    assert expected_calibration_error(p, labels) == pytest.approx(
        sum(abs(gap[2 * k : 2 * k + 2].sum()) for k in range(15)) / 30
    )


def test_the_interval_of_a_mean_has_the_spread_of_the_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    found = mean_interval(values, resampled_counts(400, 2000))
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    grouped = mean_interval(np.repeat(values[:100], 4), resampled_counts(400, 2000, group=np.repeat(np.arange(100), 4)))
    assert grouped["high"] - grouped["low"] == pytest.approx(2 * 1.96 * values[:100].std() / 10, rel=0.15)


def test_a_tie_counts_as_a_decision_by_lot():
    given = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, 1.0, 0.0], [0.1 + 0.2, 0.3, 0.0], [-np.inf, 0.0, -1.0]])
    np.testing.assert_allclose(correct(given, np.array([1, 0, 0, 1, 1])), [1 / 2, 1 / 3, 0, 1 / 2, 1])
    # the order of the classes does not matter
    turned = given[:, ::-1]
    np.testing.assert_allclose(correct(turned, np.array([1, 2, 2, 1, 1])), [1 / 2, 1 / 3, 0, 1 / 2, 1])
    # differences of single precision are ties, greater ones are not
    close = np.array([[10.0, 10.0 + 1e-6], [10.0, 10.0 + 1e-4]])
    np.testing.assert_allclose(correct(close, np.array([0, 0])), [1 / 2, 0])
    assert scores(np.log([[0.4, 0.4, 0.2]]), np.array([0]))["accuracy"] == pytest.approx(1 / 2)
