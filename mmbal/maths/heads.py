"""A linear head on features: a multinomial logistic regression on standardised features.

Its Gaussian prior gives a logit the standard deviation ``LOGIT_SPREAD`` before any data are seen, whatever the number of
dimensions.
"""

from __future__ import annotations

import numpy as np

LOGIT_SPREAD = 2.0
FIT_ROWS = 10_000  # more rows than this are thinned before a fit: the head hardly changes, and the fit stays fast

Array = np.ndarray


def standardise(train: Array, *others: Array) -> list[Array]:
    """``train`` and ``others`` with the mean and the spread of ``train`` per dimension; dead dimensions become 0."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-8 * max(float(spread.max()), 1e-30))
    return [(x - mean) * scale for x in (train, *others)]


def fit_head(features: Array, labels: Array, classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Weight ``(C, D)`` and bias ``(C,)`` of the head; a class without rows gets a bias below every other's."""
    rows = fit_rows(len(labels), seed)
    features, labels = features[rows], labels[rows]
    known = np.unique(labels)
    weight, bias = np.zeros((classes, features.shape[1])), np.zeros(classes)
    if len(known) > 1:
        from sklearn.linear_model import LogisticRegression  # takes longer to import than most fits to run

        model = LogisticRegression(C=1 / ridge(features), max_iter=1000).fit(features, labels)
        if len(known) == 2:
            weight[known], bias[known] = np.outer([-0.5, 0.5], model.coef_[0]), [-0.5, 0.5] * model.intercept_
        else:
            weight[known], bias[known] = model.coef_, model.intercept_
    unknown = np.setdiff1d(np.arange(classes), known)
    bias[unknown] = bias[known].min() - np.log(len(labels) + 1)
    return weight, bias


def fit_rows(n: int, seed: int) -> Array:
    """Which of ``n`` rows a head is fitted to."""
    return np.arange(n) if n <= FIT_ROWS else np.random.default_rng(seed).choice(n, FIT_ROWS, replace=False)


def ridge(features: Array) -> float:
    """The penalty ``ridge / 2 |weight|^2`` of the Gaussian prior."""
    return float(features.shape[1] / LOGIT_SPREAD**2)
