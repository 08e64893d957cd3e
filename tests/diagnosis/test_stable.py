"""The verdict does not depend on the seed: the same samples get the same sentences and the same advice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmbal.diagnosis import diagnose, predictions_from_features
from mmbal.embedded import path
from mmbal.files import read_npz
from mmbal.maths.bootstrap import Bootstrap, Estimate
from mmbal.predictions.features import is_feature_file
from mmbal.predictions.format import Predictions
from mmbal.predictions.heads import load_features
from mmbal.predictions.humans import human_votes
from mmbal.predictions.synthetic import GaussianWorld

SEEDS = range(20)


def said(predictions, seed, **options):
    found = diagnose(predictions, seed=seed, bootstrap=100, **options)
    return found.verdict, found.advice


def every_seed_says_the_same(predictions, seeds=SEEDS, **options):
    first = said(predictions, 0, **options)
    for seed in seeds[1:]:
        assert said(predictions, seed, **options) == first, (seed, predictions.meta)
    return first


def digits(rows: int = 400) -> Predictions:
    """Linear heads on the embedded digits, spoken and written, as means of 4 x 4 blocks."""
    arrays = read_npz(path("avmnist_fsdd_dev.npz"))
    views = {"audio": arrays["audio_logmel"], "image": arrays["image"]}
    blocks = {
        m: x[:rows].astype(float).reshape(rows, x.shape[1] // 4, 4, x.shape[2] // 4, 4).mean(axis=(2, 4))
        for m, x in views.items()
    }
    return predictions_from_features({m: x.reshape(rows, -1) for m, x in blocks.items()}, arrays["label"][:rows])


def test_of_the_human_votes():
    """Face is followed in 55 % and voice in 41 % of the disagreements: an edge, if one goes by overlapping intervals."""
    verdict, advice = every_seed_says_the_same(human_votes(), rule="pool")
    assert verdict[0] == (
        "No modality is shown to decide: where the modalities disagree, the model follows face in 55 % and voice in 41 % "
        "of the samples."
    )
    assert advice[0].command.startswith("mmbal calibrate")


def test_of_the_digits():
    verdict, _ = every_seed_says_the_same(digits(), SEEDS[:8], rule="temperature")
    assert "where the modalities disagree" in verdict[0]


@pytest.mark.parametrize("loudness", [1.0, 1.2, 1.5])
def test_of_worlds_from_none_to_some_imbalance(loudness):
    """Cross-fitted, so that folds are in play; somewhere on the way every test is at its edge."""
    world = GaussianWorld("abc", ["audio", "video"], [[2.0, 1.6, 1.2], [1.0, 1.4, 1.8]], dominance=[1.0, loudness])
    every_seed_says_the_same(world.sample(300, seed=3, calibration=0), SEEDS[:5], rule="pool")


@pytest.mark.slow
@pytest.mark.parametrize(("files", "seeds"), [("decisions/*.0.npz", SEEDS), ("features/*.npz", SEEDS[:5])])
def test_of_every_shared_set(shared_data: Path, files: str, seeds: range):
    for file in sorted(shared_data.glob(files)):
        every_seed_says_the_same(
            load_features(file) if is_feature_file(file) else Predictions.load(file), seeds, rule="pool"
        )


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """Leaving out one of n: sqrt((n - 1) / n * sum (mean without i - mean)^2) is s / sqrt(n), exactly."""
    values = np.random.default_rng(0).normal(size=60)
    table = Bootstrap.of(60, replicates=10).jackknife()
    means = table.means(values)
    assert means.shape == (61,)
    assert means[1] == pytest.approx(values[1:].mean())
    assert table.error(means) == pytest.approx(values.std(ddof=1) / np.sqrt(60))


def test_the_jackknife_leaves_out_whole_groups_and_at_most_500_parts():
    group = np.repeat(np.arange(8), 5)
    assert Bootstrap.of(40, group, replicates=10).jackknife().replicates == 8
    counts = Bootstrap.of(1200, replicates=10).jackknife().sums(np.eye(1200))
    assert counts.shape == (501, 1200)
    assert (counts[1:] == 0).sum(axis=0).tolist() == [1] * 1200  # every sample is left out once
    assert {2, 3} == set((counts[1:] == 0).sum(axis=1).tolist())


def test_a_mean_s_error_counts_groups_not_samples():
    """Six groups of constant value: the error is that of six values."""
    values, group = np.repeat([1.0, 2, 4, 4, 5, 8], 10), np.repeat(np.arange(6), 10)
    found = Bootstrap.of(60, group, replicates=10).mean_of(values)
    assert found.value == 4
    assert found.error == pytest.approx(np.array([1, 2, 4, 4, 5, 8]).std(ddof=1) / np.sqrt(6))
    low, high = found.interval(0.95)
    assert high - 4 == pytest.approx(2.5706 * found.error, rel=1e-4)  # t of five degrees of freedom
    assert 4 - low == pytest.approx(high - 4)


def test_one_group_has_no_interval():
    boot = Bootstrap.of(40, np.repeat(np.arange(8), 5), replicates=10)
    inside = boot.mean_of(np.arange(5.0), np.arange(5))
    assert inside.p == 1
    assert inside.interval(0.95) == (-np.inf, np.inf)
    assert Estimate(value=0.0).sign == 0
