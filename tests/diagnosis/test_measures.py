"""Calibration, preference, absence, norms and geometry on small tables worked out by hand."""

import numpy as np
import pytest
from scipy.special import log_softmax

from mmbal.diagnosis.coalitions import decision_of
from mmbal.diagnosis.sections.calibration import calibration_of
from mmbal.diagnosis.sections.geometry import geometry_of, nearest_centroid
from mmbal.diagnosis.sections.missing import missing_of
from mmbal.diagnosis.sections.norms import norms_of
from mmbal.diagnosis.sections.preference import preference_of
from mmbal.diagnosis.sections.samples import samples_of
from mmbal.maths.scoring import expected_calibration_error
from mmbal.predictions.format import Predictions


def one_hot(classes, of=3, height=4.0):
    return height * np.eye(of)[np.array(classes)]


# labels 0 0 1 1 2 2; a decides 0 0 1 2 2 0, b decides 0 1 1 1 0 0; in the sum a is louder, except in row 3
LABELS = np.array([0, 0, 1, 1, 2, 2])
A = one_hot([0, 0, 1, 2, 2, 0], height=3.0)
B = one_hot([0, 1, 1, 1, 0, 0], height=2.0)
B[3] *= 2


@pytest.fixture
def table():
    return Predictions.from_arrays({"labels": LABELS, "logits_a": A, "logits_b": B, "fused": A + B})


def test_preference_by_hand(table, figures_of):
    found, by_class = preference_of(figures_of(table), table, decision_of(table))
    # They differ in rows 1, 3 and 4: the sum decides 0, 1 and 2, that is with a, b and a.
    assert found.disagreement.value == pytest.approx(3 / 6)
    assert found.follows["a"].value == pytest.approx(2 / 3)
    assert found.follows["b"].value == pytest.approx(1 / 3)
    assert found.changes_without["a"].value == pytest.approx(2 / 6)
    assert found.changes_without["b"].value == pytest.approx(1 / 6)
    assert by_class["a"]["1"].value == 0.0
    assert by_class["b"]["1"].value == 1.0
    assert by_class["a"]["0"].value == 1.0


def test_samples_by_hand(table, figures_of):
    found = samples_of(figures_of(table), table, decision_of(table))
    # a is right in rows 0 1 2 4, b in 0 2 3.
    assert found.oracle.value == pytest.approx(5 / 6)
    assert found.agreement["a+b"].value == pytest.approx(3 / 6)
    assert found.double_fault["a+b"].value == pytest.approx(1 / 6)
    # On the true class a is the more confident in rows 0, 1, 2, 4 (it is right there, and louder), b in row 3; in
    # row 5 both are wrong, and b less loudly.
    assert found.preferred["a"].share.value == pytest.approx(4 / 6)
    assert found.preferred["a"].alone.value == 1.0
    assert found.preferred["b"].share.value == pytest.approx(2 / 6)
    assert found.preferred["b"].fused.value == pytest.approx(1 / 2)


def test_modalities_that_are_never_together_have_no_preference(figures_of):
    present = {"present_a": LABELS > 0, "present_b": LABELS == 0}
    p = Predictions.from_arrays({"labels": LABELS, "logits_a": A, "logits_b": B, **present})
    assert preference_of(figures_of(p), p, decision_of(p)) == (None, {})
    assert samples_of(figures_of(p), p, decision_of(p)) is None


def test_absence_by_hand(figures_of):
    bias = np.array([0.0, 5.0, 0.0])
    p = Predictions.from_arrays({"labels": LABELS, "logits_a": A, "logits_b": B, "fused": A + B, "bias": bias})
    found = missing_of(figures_of(p), p, decision_of(p), "a", seed=0)
    assert found.removed.value == pytest.approx(3 / 6)
    # The mean of a's votes is (9, 3, 6) / 6: added to b it turns the class of no row; half the bias, (0, 2.5, 0),
    # makes rows 0, 4 and 5 (b says class 0 with 2) class 1.
    assert found.mean.value == pytest.approx(3 / 6)
    assert found.zeroed.value == pytest.approx(2 / 6)
    # Shuffled, a is wrong more often than not, but b can't be more right than with a.
    assert 0 <= found.shuffled.value < 5 / 6


def test_the_mean_part_of_a_modality_pulls_to_its_frequent_class(figures_of):
    """Of 40 samples 30 are of class 0. The mean part of a is (3, 1), and b says the true class with 1."""
    labels = np.repeat([0, 1], [30, 10])
    votes = np.eye(2)[labels]
    p = Predictions.from_arrays({"labels": labels, "logits_a": 4 * votes, "logits_b": votes, "fused": 5 * votes})
    found = missing_of(figures_of(p), p, decision_of(p), "a", seed=0)
    assert found.mean.value == pytest.approx(30 / 40)
    assert found.removed.value == 1


def test_missing_of_a_fusion_that_is_not_additive(figures_of):
    p = Predictions.from_arrays(
        {"labels": LABELS, "logits_a": A, "logits_b": B, "fused": A * B, "subset_a": A, "subset_b": B}
    )
    found = missing_of(figures_of(p), p, decision_of(p), "a", seed=0)
    assert found.removed.value == pytest.approx(3 / 6)
    assert found.mean is None
    assert found.shuffled is None


def test_calibration_equals_the_shared_scores_and_finds_the_temperature(noisy, figures_of):
    p = noisy(4000, 3, {"a": 1.0})
    # For N(0, 1) noise around strength s on the true class, the posterior is softmax(s x): here s = 1, so T = 1.
    hot = 3 * p.logits["a"]
    found = calibration_of(figures_of(p), "calibration.a", hot, np.ones(4000, dtype=bool))
    log_p = log_softmax(hot, axis=-1)
    assert found.nll.value == pytest.approx(-log_p[np.arange(4000), p.labels].mean())
    assert found.ece.value == pytest.approx(expected_calibration_error(np.exp(log_p), p.labels))
    assert found.temperature.low < 3 < found.temperature.high
    assert found.temperature.high - found.temperature.low < 0.5
    assert found.brier.value == pytest.approx(((np.exp(log_p) - np.eye(3)[p.labels]) ** 2).sum(axis=1).mean())


def test_logits_that_lie_have_no_temperature(figures_of):
    p = Predictions.from_arrays({"labels": np.arange(60) % 3, "logits_a": one_hot((np.arange(60) + 1) % 3)})
    assert calibration_of(figures_of(p), "a", p.logits["a"], np.ones(60, dtype=bool)).temperature is None


def test_norms_by_hand(figures_of):
    z = np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]])
    w = np.array([[1.0, 0.0], [-1.0, 0.0]])
    votes = z @ w.T
    arrays = {"features_a": z, "weight_a": w, "logits_a": votes, "contribution_a": votes}
    other = {"features_b": 10 * z, "logits_b": votes, "contribution_b": votes}
    p = Predictions.from_arrays({"labels": [0, 1, 0], **arrays, **other, "fused": 2 * votes})
    overall, by_class = norms_of(figures_of(p), p, decision_of(p))
    assert overall["a"].features.raw.value == pytest.approx(5.0)
    assert overall["b"].features.raw.value == pytest.approx(50.0)
    # Per dimension the standardised values are -sqrt(3/2), 0 and sqrt(3/2): lengths sqrt(3), 0 and sqrt(3), mean.
    assert overall["a"].features.standardised.value == pytest.approx(2 * np.sqrt(3) / 3)
    assert overall["a"].weights.raw.value == pytest.approx(1.0)
    assert overall["a"].weights.standardised.value == pytest.approx(np.sqrt(6))
    assert overall["a"].contribution.raw.value == pytest.approx(np.sqrt(2) * 3)
    assert by_class["a"]["0"].features == pytest.approx(7.5)
    assert by_class["a"]["1"].features == 0.0
    assert overall["b"].weights is None
    assert overall["a"].contribution.effect == 0.0


def test_geometry_of_three_tight_clusters(figures_of):
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    z = 10 * np.eye(3)[labels] + 0.1 * rng.normal(size=(90, 3))
    p = Predictions.from_arrays({"labels": labels, "logits_a": np.zeros((90, 3))})
    found = geometry_of(figures_of(p), "a", z, np.ones(90, dtype=bool), None, seed=0)
    assert found.nearest_centroid.value == 1.0
    assert found.separability > 100
    # Three centres span a plane in which they are alike: rank 2, up to the noise.
    assert found.effective_rank == pytest.approx(2.0, abs=0.05)
    noise = geometry_of(figures_of(p), "a", rng.normal(size=(90, 3)), np.ones(90, dtype=bool), None, seed=0)
    assert noise.effective_rank == pytest.approx(3.0, abs=0.1)
    assert noise.separability < 0.1


def test_nearest_centroid_keeps_groups_apart():
    # A group is a point of its own, and its class says nothing of where it lies: nothing is learned across groups.
    group = np.repeat(np.arange(20), 5)
    labels = group % 2
    points = [np.random.default_rng(seed).normal(size=(20, 400))[group] for seed in range(10)]
    assert np.mean([nearest_centroid(z, labels, None, 0).mean() for z in points]) > 0.95
    assert np.mean([nearest_centroid(z, labels, group.astype(str), 0).mean() for z in points]) < 0.65
