"""`mmbal.sklearn.DecisionLayer`: scikit-learn's own checks, and what it decides."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator
from worlds import gaussian

import mmbal
from mmbal.sklearn import DecisionLayer

# Checks that do not apply, each with the reason
EXCEPTIONS = {
    "check_array_api_input": "runs only where SCIPY_ARRAY_API is set",
}


class AnyColumns(DecisionLayer):
    """The layer with one modality, whose logits follow from the distances of any columns to the means of the classes.

    The checks give tables of any number of columns, which are no scores of classes. All else is the layer's own.
    """

    def _columns(self, X):
        return {"all": np.arange(self.n_features_in_)}

    def _predictions(self, table, labels=None):
        if labels is not None:
            self.centres_ = np.stack([table[labels == k].mean(axis=0) for k in range(len(self.classes_))])
        return super()._predictions(table, labels)

    def _block(self, block):
        return super()._block(block @ self.centres_.T - (self.centres_**2).sum(axis=1) / 2)


@pytest.mark.parametrize("rule", ["pool"])
def test_the_checks_of_scikit_learn(rule):
    failed, ran = [], 0
    for estimator, check in estimator_checks_generator(AnyColumns(rule)):
        name = check.func.__name__
        if name in EXCEPTIONS:
            continue
        ran += 1
        try:
            check(estimator)
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    assert not failed, "\n".join(failed)
    assert ran > 40


def test_it_decides_as_the_rule_does():
    data = gaussian(modalities=2, missing=True)
    data = data.take(np.flatnonzero(data.present_mask().any(axis=1)))
    names = np.array(["a", "b", "c", "d"])[data.labels]
    given = {m: np.where(data.present[m][:, None], x, np.nan) for m, x in data.logits.items()}
    arrays = {"labels": data.labels, **{f"logits_{m}": x for m, x in given.items()}}
    wanted = mmbal.fit_rule(arrays, "adaptive").apply(mmbal.Predictions.from_arrays(arrays))
    table = np.concatenate(list(given.values()), axis=1)
    shuffled = np.concatenate([table[:, 4:], table[:, :4]], axis=1)
    for layer, X in (
        (DecisionLayer(), table),
        (DecisionLayer(modalities={"m0": slice(4, 8), "m1": [0, 1, 2, 3]}), shuffled),
        (DecisionLayer(), given),
    ):
        layer.fit(X, names)
        np.testing.assert_allclose(layer.predict_log_proba(X), wanted, atol=1e-9)
        assert layer.classes_.tolist() == ["a", "b", "c", "d"]
        assert layer.predict(X).tolist() == layer.classes_[wanted.argmax(axis=1)].tolist()
    with pytest.raises(ValueError, match="7 columns, which are no blocks of 4 classes"):
        DecisionLayer().fit(table[:, :7], names)
    with pytest.raises(ValueError, match="'m1' has 3 columns, but there are 4 classes"):
        DecisionLayer(modalities={"m0": slice(4), "m1": [4, 5, 6]}).fit(table, names)
    with pytest.raises(ValueError, match="no hyper-parameter 'sharpness'"):
        DecisionLayer("sum", options={"sharpness": 1}).fit(table, names)


def test_two_classes_with_one_score_each():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    x = (2.0 * y - 1)[:, None] * [1.0, 0.3] + rng.normal(size=(200, 2))
    layer = DecisionLayer("sum", modalities={"audio": [0], "video": [1]}).fit(x, y)
    np.testing.assert_allclose(layer.predict_proba(x)[:, 1], 1 / (1 + np.exp(-x.sum(axis=1))))
    shares = DecisionLayer("sum", modalities={"audio": [0], "video": [1]}, scores="probabilities")
    found = shares.fit(1 / (1 + np.exp(-x)), y).predict_proba(1 / (1 + np.exp(-x)))
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp(-x.sum(axis=1))))


def test_it_is_the_last_step_of_a_stacking_classifier():
    x, y = load_iris(return_X_y=True)
    columns = {"sepal": slice(0, 2), "petal": slice(2, 4)}
    models = [
        (m, make_pipeline(FunctionTransformer(lambda t, c=c: t[:, c]), model))
        for (m, c), model in zip(columns.items(), (LogisticRegression(max_iter=500), GaussianNB()), strict=True)
    ]
    stacked = StackingClassifier(models, DecisionLayer("pool", scores="probabilities"), stack_method="predict_proba")
    assert stacked.fit(x[::2], y[::2]).score(x[1::2], y[1::2]) > 0.9
