"""Weights of a mixture whose components are given: stacking of densities, solved to its optimum."""

from __future__ import annotations

import numpy as np

from mmbal.maths.newton import newton


def mixture_weights(log_likelihood: np.ndarray, prior: np.ndarray | float = 0.0) -> np.ndarray:
    """The simplex weights ``(K,)`` that maximise ``sum_n log sum_k w_k exp(L[n, k]) + sum_k prior_k log w_k``.

    ``log_likelihood (N, K)`` of every row under every component; ``prior`` pseudo-counts, one a component, not
    negative; there must be rows or pseudo-counts. The problem is concave. Let A be the sum of the pseudo-counts: at the
    optimum over the simplex the gradient of every weight above zero is N + A, so the optimum is that of the same
    function less ``(N + A) sum_k w_k`` over all w >= 0, which projected Newton finds. Source: Yao, Vehtari, Simpson and
    Gelman, "Using stacking to average Bayesian predictive distributions", Bayesian Analysis 2018 (the objective).
    """
    n, k = log_likelihood.shape
    counts = np.broadcast_to(np.asarray(prior, dtype=np.float64), (k,))
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    mass = n + counts.sum()

    def objective(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        total = likelihood @ w
        # a weight of zero is allowed only without a pseudo-count: 0 / 0 is the limit 0
        pull = np.divide(counts, w, out=np.zeros(k), where=counts > 0)
        value = mass * w.sum() - np.log(total).sum() - (counts * np.log(np.where(counts > 0, w, 1.0))).sum()
        share = likelihood / total[:, None]
        bend = np.divide(pull, w, out=np.zeros(k), where=counts > 0)
        return float(value), mass - share.sum(axis=0) - pull, share.T @ share + np.diag(bend)

    with np.errstate(divide="ignore", invalid="ignore"):  # a step to the edge has an infinite value and is shortened
        weights = newton(objective, (counts + 1e-3) / (counts + 1e-3).sum(), lower=0.0, tolerance=1e-10)
    return weights / weights.sum()
