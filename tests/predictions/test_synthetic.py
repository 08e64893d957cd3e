"""The closed forms of the synthetic world, against plain loops over many draws and textbook values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmbal.errors import ConfigError
from mmbal.predictions.synthetic import GaussianWorld

WORLD = GaussianWorld(
    classes=["a", "b", "c"],
    modalities=["audio", "video", "text"],
    capability=[[2.0, 1.0, 0.0], [0.5, 1.5, 1.0], [0.0, 0.0, 1.2]],
    overconfidence=[3.0, 1.0, 0.5],
    dominance=[1.0, 1.0, 2.0],
    prior=[0.5, 0.3, 0.2],
)


def test_bayes_layer_is_the_posterior_of_the_gaussian_densities():
    predictions = WORLD.sample(40, seed=1)
    got = WORLD.bayes_log_probabilities(predictions)
    for i in range(40):
        joint = []
        for c in range(3):
            log = math.log(WORLD.prior[c])
            for j, m in enumerate(WORLD.modalities):
                for k in range(3):
                    mean = (0.5 if k == c else -0.5) * WORLD.capability[j][k]
                    log += -0.5 * (predictions.features[m][i, k] - mean) ** 2
            joint.append(log)
        total = math.log(sum(math.exp(x) for x in joint))
        assert got[i] == pytest.approx([x - total for x in joint], abs=1e-9)


def test_class_wise_overconfidence_is_undone_class_by_class():
    factors = [[3.0, 0.5, 1.0], [1.0, 2.0, 4.0], [1.0, 1.0, 1.0]]
    plain = GaussianWorld(WORLD.classes, WORLD.modalities, WORLD.capability, prior=WORLD.prior)
    loud = GaussianWorld(WORLD.classes, WORLD.modalities, WORLD.capability, factors, prior=WORLD.prior)
    one, other = plain.sample(30, seed=2), loud.sample(30, seed=2)
    assert np.allclose(other.logits["audio"], one.logits["audio"] * [3.0, 0.5, 1.0])
    assert np.allclose(loud.bayes_log_probabilities(other), plain.bayes_log_probabilities(one))
    assert loud.bayes_weights[1].tolist() == [1.0, 0.5, 0.25]


def test_two_classes_have_the_textbook_accuracy():
    world = GaussianWorld(["no", "yes"], ["m"], [[1.2, 0.9]])
    distance = math.hypot(1.2, 0.9)
    expected = 0.5 * (1 + math.erf(distance / 2 / math.sqrt(2)))
    assert world.bayes_accuracy() == pytest.approx(expected, abs=1e-10)


def test_population_accuracies_are_those_of_many_draws():
    predictions = WORLD.sample(200_000, seed=3)
    error = 4 * 0.5 / math.sqrt(200_000)
    right = WORLD.bayes_log_probabilities(predictions).argmax(1) == predictions.labels
    assert right.mean() == pytest.approx(WORLD.bayes_accuracy(), abs=error)
    as_is = predictions.fused.argmax(1) == predictions.labels
    assert as_is.mean() == pytest.approx(WORLD.as_is_accuracy(), abs=error)
    recall = [as_is[predictions.labels == c].mean() for c in range(3)]
    assert recall == pytest.approx(WORLD.as_is_accuracy(per_class=True), abs=3 * error)
    video = (predictions.logits["video"] / 1.0 + np.log(WORLD.prior)).argmax(1) == predictions.labels
    assert video.mean() == pytest.approx(WORLD.bayes_accuracy(["video"]), abs=error)
    assert WORLD.bayes_accuracy() > WORLD.as_is_accuracy()


def test_likelihood_of_a_layer_and_of_bayes_agree_with_rows():
    predictions = WORLD.sample(200_000, seed=4)
    bayes = WORLD.bayes_nll(predictions)
    assert WORLD.nll(WORLD.bayes_weights, WORLD.bayes_bias) == pytest.approx(bayes, abs=0.01)
    by_hand = [
        -math.log(math.exp(row[y]) / sum(map(math.exp, row)))
        for row, y in zip(predictions.fused[:5000].tolist(), predictions.labels[:5000].tolist(), strict=True)
    ]
    assert WORLD.nll(WORLD.loudness) == pytest.approx(np.mean(by_hand), abs=5 * np.std(by_hand) / math.sqrt(5000))
    assert WORLD.nll(WORLD.loudness) > bayes


def test_contribution_shares_are_mean_absolute_centred_parts():
    predictions = WORLD.sample(100_000, seed=5)
    size = np.zeros((3, 3))
    for j, m in enumerate(WORLD.modalities):
        part = predictions.contribution[m]
        centred = part - part.mean(axis=1, keepdims=True)
        centred = centred - centred.mean(axis=0)
        for c in range(3):
            size[c, j] = np.abs(centred[predictions.labels == c]).mean()
    expected = size / size.sum(axis=1, keepdims=True)
    assert WORLD.contribution_shares(per_class=True) == pytest.approx(expected, abs=0.01)
    total = np.array(WORLD.prior) @ size
    assert WORLD.contribution_shares() == pytest.approx(total / total.sum(), abs=0.01)
    assert WORLD.contribution_shares(WORLD.bayes_weights)[0] < WORLD.contribution_shares()[0]


def test_the_index_is_zero_for_the_bayes_layer_and_known_by_hand_otherwise():
    balanced = GaussianWorld(WORLD.classes, WORLD.modalities, WORLD.capability, [3.0, 1.0, 2.0], [1 / 3, 1.0, 0.5])
    assert balanced.imbalance_index() == pytest.approx(0.0, abs=1e-12)
    # two equal modalities, one three times too loud: it has 3/4 of the say where 1/2 is its worth
    loud = GaussianWorld(["a", "b"], ["m", "n"], [[1.0, 1.0], [1.0, 1.0]], [3.0, 1.0])
    assert loud.imbalance_index() == pytest.approx(0.25)


def test_shapley_values_of_three_modalities_by_their_six_orders():
    value = {frozenset(): 0.5}
    for names in [("audio",), ("video",), ("text",), ("audio", "video"), ("audio", "text"), ("video", "text")]:
        value[frozenset(names)] = WORLD.bayes_accuracy(names)
    value[frozenset(WORLD.modalities)] = WORLD.bayes_accuracy()
    orders = ["012", "021", "102", "120", "201", "210"]
    expected = np.zeros(3)
    for order in orders:
        seen: frozenset[str] = frozenset()
        for j in map(int, order):
            grown = seen | {WORLD.modalities[j]}
            expected[j] += (value[grown] - value[seen]) / 6
            seen = grown
    assert WORLD.shapley_accuracy() == pytest.approx(expected, abs=1e-12)


def test_a_class_of_no_strength_is_a_coin_flip():
    world = GaussianWorld(["a", "b"], ["m", "deaf"], [[2.0, 2.0], [0.0, 0.0]])
    assert world.bayes_accuracy(["deaf"]) == pytest.approx(0.5)
    assert world.shapley_accuracy()[1] == pytest.approx(0.0, abs=1e-9)


def test_head_features_and_contributions_fit_together():
    world = GaussianWorld(WORLD.classes, WORLD.modalities, WORLD.capability, WORLD.overconfidence, width=9)
    predictions = world.sample(20, seed=6)
    for m in world.modalities:
        assert predictions.features[m].shape == (20, 9)
        assert np.allclose(predictions.features[m] @ predictions.weight[m].T, predictions.logits[m])
    assert np.allclose(sum(predictions.contribution.values()), predictions.fused)
    assert predictions.splits() == {"calibration": 10, "test": 10}


def test_a_missing_modality_adds_nothing():
    world = GaussianWorld(["a", "b"], ["m", "n"], [[2.0, 2.0], [1.0, 1.0]], missing=[0.0, 0.4])
    predictions = world.sample(1000, seed=7)
    absent = ~predictions.present["n"]
    assert 0.3 < absent.mean() < 0.5
    alone = predictions.logits["m"][absent]
    expected = alone - np.log(np.exp(alone).sum(axis=1, keepdims=True))
    assert np.allclose(world.bayes_log_probabilities(predictions)[absent], expected)


def test_features_for_training_are_separable_and_seeded():
    data = WORLD.features(100, seed=8)
    assert data["audio"].shape == (100, 3)
    assert {s: int((data["split"] == s).sum()) for s in ("train", "val", "test")} == {
        "train": 60,
        "val": 20,
        "test": 20,
    }
    assert set(data["label"].tolist()) == {"a", "b", "c"}
    assert np.array_equal(data["audio"], WORLD.features(100, seed=8)["audio"])
    assert not np.array_equal(data["audio"], WORLD.features(100, seed=9)["audio"])


@pytest.mark.parametrize(
    "change",
    [
        {"capability": np.ones((3, 3))},
        {"prior": [0.5, 0.6, 0.2]},
        {"overconfidence": 0.0},
        {"missing": 1.0},
        {"width": 2},
    ],
)
def test_wrong_settings_are_config_errors(change):
    settings = {"classes": "abc", "modalities": ["m", "n"], "capability": np.ones((2, 3))}
    with pytest.raises(ConfigError):
        GaussianWorld(**{**settings, **change})
