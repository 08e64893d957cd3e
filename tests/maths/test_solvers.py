"""The convex solvers against independent optimisers and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.loglinear import Design, Posterior, maximum_a_posteriori, mode_of
from mmbal.maths.mixture import mixture_weights
from mmbal.maths.newton import nearest_non_negative, newton
from mmbal.maths.scoring import calibration_errors, correct, expected_calibration_error, scores


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


def test_newton_gets_along_with_a_singular_hessian():
    # two rows and ten equal columns: the Hessian has rank one, and only the sum of the weights is known
    likelihood = np.log(np.tile([[0.5], [0.25]], (1, 10)))
    assert mixture_weights(likelihood).sum() == pytest.approx(1)
    rng = np.random.default_rng(53)
    likelihood = rng.normal(size=(2, 10))
    found = mixture_weights(likelihood)
    # at the optimum no component gains more than the mixture: mean_n p_k / p is 1 where w_k > 0, and at most 1 elsewhere
    quotient = (np.exp(likelihood) / (np.exp(likelihood) @ found)[:, None]).mean(axis=0)
    assert quotient.max() < 1 + 1e-6
    np.testing.assert_allclose(quotient[found > 1e-6], 1, atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_non_negative_point_is_that_of_non_negative_least_squares(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(9, 9)) @ (np.eye(9) + 0.9)  # strongly correlated: few of the wrong signs stay at zero
    point = rng.normal(size=9)
    found = nearest_non_negative(point, np.linalg.inv(root.T @ root), 6)
    # the last three are free: their best values given the first six leave the Schur complement
    hessian = root.T @ root
    schur = hessian[:6, :6] - hessian[:6, 6:] @ np.linalg.solve(hessian[6:, 6:], hessian[6:, :6])
    upper = np.linalg.cholesky(schur).T
    expected, _ = nnls(upper, upper @ point[:6])
    np.testing.assert_allclose(found[:6], expected, atol=1e-8)
    step = expected - point[:6]
    rest = point[6:] - np.linalg.solve(hessian[6:, 6:], hessian[6:, :6] @ step)
    np.testing.assert_allclose(found[6:], rest, atol=1e-6)


def test_a_point_that_is_not_negative_stays():
    assert nearest_non_negative(np.array([0.0, 2.0, -3.0]), np.eye(3) + 0.5, 2).tolist() == [0, 2, -3]


def all_blocks(seed=0, n=25, k=2, m=2, d=3, c=3):
    """A posterior with every block, rows of different weight, an offset and a prior of each kind of precision."""
    rng = np.random.default_rng(seed)
    design = Design(rng.normal(size=(n, k, c)), rng.normal(size=(n, m, c)), rng.normal(size=(n, d)), True)
    size = sum(design.sizes)
    target, offset = rng.uniform(0, 1.5, size=(n, c)), rng.normal(size=(n, c))
    return Posterior(design, target, rng.normal(size=size), rng.uniform(0.5, 2, size=size), offset), rng


def test_gradient_and_hessian_are_the_differences_of_the_value():
    posterior, rng = all_blocks()
    dense = Posterior(
        posterior.design, posterior.target, posterior.mean, np.eye(len(posterior.mean)) + 0.1, posterior.offset
    )
    at, step = rng.normal(size=len(posterior.mean)), 1e-6
    for each in (posterior, dense):
        _, gradient, hessian = each.objective(at)
        for j, unit in enumerate(np.eye(len(at))):
            high, low = each.objective(at + step * unit), each.objective(at - step * unit)
            assert gradient[j] == pytest.approx((high[0] - low[0]) / (2 * step), abs=1e-6)
            np.testing.assert_allclose(hessian[j], (high[1] - low[1]) / (2 * step), atol=1e-6)
    p = posterior.evaluate(at)[1]
    diagonal = np.diag(posterior.design.hessian(p, posterior.mass))
    np.testing.assert_allclose(posterior.design.curvature(p, posterior.mass), diagonal)


def test_both_solvers_reach_the_optimum():
    posterior, _ = all_blocks()
    exact = newton(posterior.objective, posterior.mean, tolerance=1e-14)
    assert np.abs(posterior.objective(exact)[1]).max() < 1e-9
    found = maximum_a_posteriori(
        posterior.design, posterior.target, posterior.mean, posterior.precision, offset=posterior.offset
    )
    np.testing.assert_allclose(found, exact, atol=1e-7)


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

    found = maximum_a_posteriori(Design(experts, columns, features, True), np.eye(c)[labels], mean, precision)
    reference = minimize(objective, mean, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-8}).x
    np.testing.assert_allclose(found, reference, atol=2e-3)  # the differences of L-BFGS are no better
    assert objective(found) <= objective(reference)


def test_mixture_weights_of_two_components_in_closed_form():
    # three rows that only the first explains, one that only the second does: weights 3/4 and 1/4
    likelihood = np.log(np.array([[1, 1e-12], [1, 1e-12], [1, 1e-12], [1e-12, 1]]))
    np.testing.assert_allclose(mixture_weights(likelihood), [0.75, 0.25], atol=1e-7)
    # with one pseudo-row each: 4/6 and 2/6; without any rows the pseudo-counts alone
    np.testing.assert_allclose(mixture_weights(likelihood, 1.0), [4 / 6, 2 / 6], atol=1e-7)
    np.testing.assert_allclose(mixture_weights(np.zeros((0, 2)), np.array([3.0, 1.0])), [0.75, 0.25], atol=1e-7)


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


def test_replicates_of_the_calibration_error_are_shifted_to_the_samples_own():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=40)
    labels = rng.integers(3, size=40)
    boot = Bootstrap.of(60, replicates=200)
    rows = np.arange(5, 45)
    found = calibration_errors(boot, p, labels, rows, bins=7)
    confidence = p.max(axis=1)
    gap = [float(p[i].argmax() == labels[i]) - confidence[i] for i in range(40)]
    bins = np.array_split(np.argsort(confidence), 7)
    counts = boot.counts[rows].T
    raw = [sum(abs(sum(row[i] * gap[i] for i in part)) for part in bins) / row.sum() for row in counts]
    assert found[0] == pytest.approx(raw[0])
    assert found[0] == pytest.approx(expected_calibration_error(p, labels, bins=7))
    shift = raw[0] - np.mean(raw[1:])
    np.testing.assert_allclose(found[1:], [max(x + shift, 0.0) for x in raw[1:]])
    assert shift < 0


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


def test_the_mode_under_bounds_is_that_of_the_dense_solver():
    """Both stop within 1e-8 of the optimum, where the gradient of what is free is zero and that of the rest positive."""
    posterior, rng = all_blocks(seed=3)
    root = rng.normal(size=(len(posterior.mean),) * 2)
    posterior = replace(
        posterior, precision=np.eye(len(root)) + 0.1 * root @ root.T
    )  # parameters that depend on others
    lower = np.where(np.arange(len(root)) < 8, 0.0, -np.inf)
    dense = newton(posterior.objective, posterior.mean, lower, tolerance=1e-16)
    found = mode_of(posterior, lower=lower)
    np.testing.assert_allclose(found, dense, atol=1e-8)
    gradient = posterior.objective(found)[1]
    free = found > lower
    assert 0 < free[:8].sum() < 8
    assert np.abs(gradient[free]).max() < 1e-6
    assert (gradient[~free] > 0).all()


def test_a_hessian_in_blocks_of_rows_is_the_whole(monkeypatch):
    posterior, rng = all_blocks()
    p = posterior.evaluate(rng.normal(size=len(posterior.mean)))[1]
    whole = posterior.design.hessian(p, posterior.mass)
    monkeypatch.setattr("mmbal.maths.loglinear.BLOCK", 7 * len(whole))  # 7 rows at a time of 25
    np.testing.assert_allclose(posterior.design.hessian(p, posterior.mass), whole, atol=1e-12)


@pytest.mark.parametrize("guess", [[True] * 6, [True, False] * 3])
def test_a_guess_of_the_bounds_changes_nothing(guess):
    rng = np.random.default_rng(5)
    root, point = rng.normal(size=(9, 8)), rng.normal(size=8)
    covariance = np.linalg.inv(root.T @ root)
    plain = nearest_non_negative(point, covariance, 6)
    np.testing.assert_allclose(nearest_non_negative(point, covariance, 6, np.array(guess)), plain, atol=1e-12)
