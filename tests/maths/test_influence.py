"""The influence of a row on a fitted classifier, against fitting it again with the row's weight changed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mmbal.maths.influence import logistic_influence

RIDGE, STEP = 0.7, 1e-3


def fitted(features, labels, weights):
    model = LogisticRegression(C=1 / RIDGE, tol=1e-12, max_iter=10_000).fit(features, labels, sample_weight=weights)
    return np.hstack([model.coef_, model.intercept_[:, None]])


@pytest.mark.parametrize("row", [0, 7, 41])
def test_influence_is_what_a_little_more_weight_does(row):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    features = rng.normal(size=(60, 4)) + 0.5 * np.eye(3, 4)[labels]
    slope = rng.normal(size=(3, 5))  # its sum over classes is not 0, as where a further class was not among the fitted
    head = fitted(features, labels, np.ones(60))
    more, less = np.ones(60), np.ones(60)
    more[row] += STEP
    less[row] -= STEP
    moved = ((fitted(features, labels, more) - fitted(features, labels, less)) * slope).sum() / (2 * STEP)
    found = logistic_influence(features, labels, head[:, :-1], head[:, -1], RIDGE, slope)
    assert found[row] == pytest.approx(moved, rel=2e-3, abs=1e-5)
