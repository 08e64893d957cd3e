"""Linear heads are scored on samples that they never saw, whole groups at a time."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from mmbal.diagnosis.coalitions import correct, decision_of
from mmbal.diagnosis.probes import Probe
from mmbal.errors import DataError
from mmbal.maths.heads import ridge, standardise
from mmbal.predictions.features import is_feature_file
from mmbal.predictions.heads import load_features, predictions_from_features
from mmbal.predictions.synthetic import GaussianWorld


def probe(features, labels, classes):
    return Probe.fit(features, labels, classes, np.ones(len(labels), dtype=bool)).logits


def weighted_fit(features, labels, held_out, weights):
    """Log-likelihood of the held-out rows' labels, summed, by a probe whose fit gives its rows these weights."""
    train, test = standardise(features[~held_out], features[held_out])
    model = LogisticRegression(C=1 / ridge(train), tol=1e-12, max_iter=10_000)
    log_p = model.fit(train, labels[~held_out], sample_weight=weights).predict_log_proba(test)
    return log_p[np.arange(len(test)), labels[held_out]].sum()


@pytest.mark.parametrize("classes", [2, 3])
def test_influence_on_held_out_samples_is_what_refitting_with_more_weight_does(classes):
    rng = np.random.default_rng(1)
    labels = np.arange(60) % classes
    features = rng.normal(size=(60, 5)) + np.eye(classes, 5)[labels]
    found = Probe.fit(features, labels, classes, np.ones(60, dtype=bool))
    first = found.fold == 0
    slopes = np.where(first[:, None], np.eye(classes)[labels] - softmax(found.logits, axis=1), 0.0)
    row = np.flatnonzero(~first)[4]
    step = 1e-3 * (np.flatnonzero(~first) == row)
    high, low = (weighted_fit(features, labels, first, 1 + sign * step) for sign in (1, -1))
    # the row also serves the fits of the other folds, whose slopes are zero here
    assert found.influence(slopes)[row] == pytest.approx((high - low) / 2e-3, rel=1e-2, abs=1e-4)
    assert not found.influence(slopes)[first].any()


def test_probe_reaches_the_bayes_accuracy_of_gaussians():
    world = GaussianWorld("abc", ["audio"], [[2.0, 2.0, 2.0]], width=12)
    p = world.sample(3000, seed=0, calibration=0)
    found = correct(probe(p.features["audio"], p.labels, 3), p.labels).mean()
    assert found == pytest.approx(world.bayes_accuracy(), abs=0.03)


def test_probe_of_noise_is_at_chance_because_it_is_held_out():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=400)
    assert correct(probe(rng.normal(size=(400, 300)), labels, 4), labels).mean() < 0.35


def features(n=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    return {m: s * np.eye(3, 5)[labels] + rng.normal(size=(n, 5)) for m, s in (("a", 3.0), ("b", 1.0))}, labels


def test_parts_sum_to_fused_and_are_the_decisions_alone():
    z, labels = features()
    p = predictions_from_features(z, labels, classes=["x", "y", "z"])
    decision = decision_of(p)
    assert np.allclose(decision.fused, p.contribution["a"] + p.contribution["b"])
    assert np.array_equal(p.logits["a"], p.contribution["a"])
    assert correct(decision.fused, labels).mean() > correct(p.logits["b"], labels).mean() + 0.2
    assert p.weight["a"].shape == (3, 5)
    assert "cross-fitted" in p.meta["heads"]


def test_a_train_split_fits_the_head_and_is_not_scored():
    z, labels = features(300)
    split = np.array(["train"] * 150 + ["val"] * 50 + ["test"] * 100)
    p = predictions_from_features(z, labels, split=split)
    assert p.splits() == {"val": 50, "test": 100}
    # The val rows do not touch the head: other features there leave the test decisions as they are.
    z["a"][150:200] = 0
    again = predictions_from_features(z, labels, split=split)
    assert np.array_equal(p.select("test").contribution["a"], again.select("test").contribution["a"])


def test_a_modality_that_is_absent_says_nothing(figures_of):
    z, labels = features()
    present = np.arange(200) % 4 > 0
    p = predictions_from_features(z, labels, present={"a": present})
    assert correct(p.logits["a"], labels)[present].mean() > 0.6
    assert p.present["a"].sum() == 150


def test_feature_files_are_told_from_predictions(tmp_path):
    z, labels = features(60)
    np.savez(tmp_path / "f.npz", **z, label=labels, modalities=np.array(["a", "b"]), actor=np.arange(60) // 6)
    np.savez(tmp_path / "p.npz", labels=labels, logits_a=z["a"][:, :3])
    assert is_feature_file(tmp_path / "f.npz")
    assert not is_feature_file(tmp_path / "p.npz")
    assert not is_feature_file(tmp_path)
    found = load_features(tmp_path / "f.npz")
    assert found.meta["dataset"] == "f"
    assert found.group is not None


def test_a_feature_file_that_lacks_an_array_is_named(tmp_path):
    np.savez(tmp_path / "f.npz", a=np.zeros((4, 2)), label=np.zeros(4, int), modalities=np.array(["a", "b"]))
    with pytest.raises(DataError, match=r"f\.npz.*'b'"):
        load_features(tmp_path / "f.npz")
    with pytest.raises(DataError, match="features of 'a'"):
        predictions_from_features({"a": np.zeros((3, 2))}, [0, 1])
