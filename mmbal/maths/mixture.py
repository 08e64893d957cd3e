"""Weights of a mixture whose components are given: stacking of densities by expectation maximisation."""

from __future__ import annotations

import numpy as np


def mixture_weights(
    log_likelihood: np.ndarray, prior: np.ndarray | float = 0.0, tolerance: float = 1e-7, max_steps: int = 2000
) -> np.ndarray:
    """The simplex weights ``(K,)`` that maximise ``sum_n log sum_k w_k exp(L[n, k]) + sum_k prior_k log w_k``.

    ``log_likelihood (N, K)`` of every row under every component; ``prior`` pseudo-counts, one a component, not
    negative. A concave problem, solved by EM; stops where a step gains less than ``tolerance`` nats a row.
    Sources: Yao, Vehtari, Simpson and Gelman, "Using stacking to average Bayesian predictive distributions", Bayesian
    Analysis 2018 (the objective); Dempster, Laird and Rubin 1977 (EM).
    """
    n, k = log_likelihood.shape
    counts = np.broadcast_to(np.asarray(prior, dtype=np.float64), (k,))
    weights = (counts + 1e-3) / (counts + 1e-3).sum()
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    last = -np.inf
    for _ in range(max_steps):
        joint = likelihood * weights
        total = joint.sum(axis=1, keepdims=True)
        value = np.log(total).sum() + (counts * np.log(np.maximum(weights, 1e-300))).sum()
        if value - last < tolerance * max(n, 1):
            break
        last = value
        weights = (joint / total).sum(axis=0) + counts
        weights = weights / weights.sum()
    return weights
