"""Comparisons whose every figure can be counted by hand, and runs trained for real."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from mmbal.data.predictions import Predictions
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.train import train
from mmbal.errors import UsageError
from mmbal.report.compare import compare, read_source

N = 40


def save(path, right, *, ids=None, labels=None, meta=None, group=None):
    """Two classes, decided rightly where ``right`` is true, by a fused logit of +-1; both modalities say half of it."""
    labels = np.arange(len(right)) % 2 if labels is None else labels
    decided = np.where(right, labels, 1 - labels)
    fused = np.where(decided[:, None] == [0, 1], 1.0, -1.0) / 2
    arrays = {"labels": labels, "logits_a": fused / 2, "logits_b": fused / 2, "fused": fused, "classes": ["x", "y"]}
    arrays["ids"] = np.arange(len(right)).astype(str) if ids is None else ids
    if group is not None:
        arrays["group"] = group
    predictions = Predictions.from_arrays(arrays)
    predictions.meta.update(meta or {})
    predictions.save(path)
    return path


def pattern(*wrong):
    right = np.ones(N, dtype=bool)
    right[list(wrong)] = False
    return right


def test_two_models_on_the_same_samples(tmp_path):
    first = save(tmp_path / "first.npz", pattern(0, 1, 2, 3, 4, 5, 6, 7))
    # wrong on 8 and 9, where the first is right; right on 0 to 6, where the first is wrong
    second = save(tmp_path / "second.npz", pattern(7, 8, 9))
    found = compare([first, second], replicates=300)
    assert [row.label for row in found.rows] == ["first", "second"]
    assert found.rows[0].figures["accuracy"].mean == pytest.approx(32 / 40)
    assert found.rows[1].figures["accuracy"].mean == pytest.approx(37 / 40)
    test = found.rows[1].test
    assert test.samples == N
    assert test.accuracy.value == pytest.approx(5 / 40)
    # mid-p: of the 9 samples where they differ 2 go against it; 2 P(X <= 2) - P(X = 2), X ~ Binomial(9, 1/2)
    assert test.mcnemar == pytest.approx((2 * (1 + 9 + 36) - 36) / 2**9)
    # each wrong sample costs log((1 + e) / (1 + 1/e)) = 1 nat more than a right one
    assert test.nll.value == pytest.approx(-5 / 40, abs=1e-6)
    assert test.p_holm == test.p
    assert found.rows[0].test is None


def test_samples_are_paired_by_id_not_by_position(tmp_path):
    first = save(tmp_path / "first.npz", pattern(3, 5))
    order = np.random.default_rng(0).permutation(N)[:30]
    again = save(tmp_path / "again.npz", pattern(3, 5)[order], ids=order.astype(str), labels=order % 2)
    test = compare([first, again], replicates=200).rows[1].test
    assert test.samples == 30
    assert test.accuracy.value == 0
    assert test.mcnemar == 1


def test_seeds_of_one_experiment_are_one_row(tmp_path):
    meta = {"method": "joint", "fusion": "concat", "dataset": "toy"}
    wrong = {"joint": [(0, 1, 2, 3), (0, 1), (4, 5, 6, 7, 8, 9)], "new": [(0, 1, 2), (0,), (4, 5)]}
    paths = [
        save(tmp_path / f"{m}{s}.npz", pattern(*w), meta={**meta, "method": m, "seed": s})
        for m, seeds in wrong.items()
        for s, w in enumerate(seeds)
    ]
    found = compare(paths, replicates=400)
    assert [(row.label, row.seeds) for row in found.rows] == [("joint · concat", 3), ("new · concat", 3)]
    accuracies = [36 / 40, 38 / 40, 34 / 40]
    figure = found.rows[0].figures["accuracy"]
    mean = sum(accuracies) / 3
    assert figure.mean == pytest.approx(mean)
    assert figure.spread == pytest.approx(math.sqrt(sum((a - mean) ** 2 for a in accuracies) / 2))

    # the test: mean difference, its variance over samples (by the formula of the mean) plus that over the seeds' three
    differences = [1 / 40, 1 / 40, 4 / 40]
    gained = np.zeros(N)
    for old, new in zip(*wrong.values(), strict=True):
        for i in range(N):
            gained[i] += ((i in old) - (i in new)) / 3
    test = found.rows[1].test
    assert test.accuracy.value == pytest.approx(sum(differences) / 3)
    over_samples = gained.var() / N
    over_seeds = np.var(differences, ddof=1) / 3
    freedom = (over_samples + over_seeds) ** 2 / (over_samples**2 / (N - 1) + over_seeds**2 / 2)
    p = 2 * student.sf(test.accuracy.value / math.sqrt(over_samples + over_seeds), freedom)
    assert test.p == pytest.approx(p, rel=0.15), "the bootstrap's variance is within a few per cent of the formula's"
    assert test.mcnemar is None


def test_the_same_seed_twice_is_not_a_repetition(tmp_path):
    meta = {"method": "joint", "seed": 0}
    paths = [save(tmp_path / f"{k}.npz", pattern(k), meta=meta) for k in range(2)]
    found = compare(paths, replicates=100)
    assert [row.seeds for row in found.rows] == [1, 1]
    assert [row.label for row in found.rows] == [f"joint ({path})" for path in paths]


def test_holm_covers_all_rows(tmp_path):
    first = save(tmp_path / "a.npz", pattern(*range(12)))
    others = [save(tmp_path / f"{k}.npz", pattern(*range(k))) for k in (2, 9)]
    found = compare([first, *others], replicates=300)
    p = [row.test.p for row in found.rows[1:]]
    assert p[0] < p[1]
    assert [row.test.p_holm for row in found.rows[1:]] == pytest.approx([2 * p[0], max(2 * p[0], p[1])])


def test_what_can_not_be_paired_is_said(tmp_path):
    first = save(tmp_path / "first.npz", pattern(1))
    others = {
        "strangers": save(tmp_path / "strangers.npz", pattern(1), ids=np.arange(N).astype(str) + np.array("x")),
        "twins": save(tmp_path / "twins.npz", pattern(1), ids=np.arange(N) // 2),
        "liars": save(tmp_path / "liars.npz", pattern(1), labels=(np.arange(N) + 1) % 2),
    }
    read_source(first, replicates=100).diagnosis.save(tmp_path / "diagnosis.json")
    found = compare([first, *others.values(), tmp_path / "diagnosis.json"], replicates=100)
    assert [row.test for row in found.rows] == [None] * 5
    for note, words in zip(
        found.notes, ("no sample in common", "repeat", "other labels", "without predictions"), strict=True
    ):
        assert words in note
    assert found.rows[4].figures["accuracy"].mean == pytest.approx(39 / 40)


def test_a_missing_split_is_a_usage_error(tmp_path):
    first = save(tmp_path / "first.npz", pattern(1))
    with pytest.raises(UsageError, match="no split 'val'"):
        compare([first], split="val")
    read_source(first, replicates=100).diagnosis.save(tmp_path / "d.json")
    with pytest.raises(UsageError, match="of the split 'test', not of 'val'"):
        compare([tmp_path / "d.json"], split="val")
    with pytest.raises(UsageError, match="nothing"):
        compare([])


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
    """Two seeds of joint training and two of a stronger regularisation, with the test followed by epoch."""
    store, folder = toy({"audio": 6, "video": 4}), tmp_path_factory.mktemp("runs")
    found = []
    for decay in (0.0, 0.01):
        for seed in (0, 1):
            config = TrainConfig(
                data=str(store.path), epochs=3, seed=seed, optimistic=True, method=Choice(name="joint"), device="cpu"
            )
            config = config.model_copy(
                update={"optimiser": config.optimiser.model_copy(update={"weight_decay": decay})}
            )
            found.append(train(config, out=folder / f"d{decay}-s{seed}"))
    return found


def test_runs_bring_their_epochs(runs):
    found = compare([run.folder for run in runs], replicates=100)
    assert [row.seeds for row in found.rows] == [2, 2]
    assert found.rows[0].label == "joint · concat (optimiser.weight_decay=0.0)"
    for row, pair in zip(found.rows, (runs[:2], runs[2:]), strict=True):
        summaries = [run.summary for run in pair]
        assert row.figures["accuracy"].mean == pytest.approx(np.mean([s["test"]["accuracy"] for s in summaries]))
        assert row.figures["nll"].mean == pytest.approx(np.mean([s["test"]["nll"] for s in summaries]), abs=1e-4)
        assert row.last.mean == pytest.approx(np.mean([s["last"]["test"]["accuracy"] for s in summaries]))
        assert row.optimistic.mean == pytest.approx(np.mean([s["optimistic"]["test"]["accuracy"] for s in summaries]))
        assert row.optimistic.mean >= row.figures["accuracy"].mean
        assert [e.best_epoch for e in row.entries] == [s["best_epoch"] for s in summaries]
    assert found.rows[1].test.samples == 40


def test_a_stored_diagnosis_is_used_until_the_predictions_change(runs):
    folder = runs[0].folder
    source = read_source(folder, replicates=100)
    marked = source.diagnosis.model_copy(update={"verdict": ["as stored"]})
    marked.save(folder / "diagnosis.json")
    assert read_source(folder, replicates=100).diagnosis.verdict == ["as stored"]
    assert read_source(folder, "val", replicates=100).diagnosis.verdict != ["as stored"]
    file = folder / "predictions" / "test.npz"
    Predictions.load(file).save(file)
    assert read_source(folder, replicates=100).diagnosis.verdict != ["as stored"]
    (folder / "diagnosis.json").unlink()
