"""What is one row, what it is called, where its figures come from; on files made by hand and on runs trained for real."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmbal.diagnosis import Diagnosis
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.train import train
from mmbal.errors import UsageError
from mmbal.predictions.format import Predictions
from mmbal.report.compare import compare, compare_sources
from mmbal.report.sources import Source, read_source

N = 40
NAMED = {"weak": 1.0, "strong": 3.0}  # how far the true class stands out


def predictions(*wrong: int, **meta) -> Predictions:
    """Two classes, decided wrongly on the samples ``wrong``."""
    labels = np.arange(N) % 2
    decided = np.where(np.isin(np.arange(N), wrong), 1 - labels, labels)
    fused = np.where(decided[:, None] == [0, 1], 1.0, -1.0) / 2
    made = Predictions.from_arrays({"labels": labels, "logits_a": fused / 2, "logits_b": fused / 2, "fused": fused})
    made.meta.update(meta)
    return made


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory) -> Diagnosis:
    path = tmp_path_factory.mktemp("once") / "p.npz"
    predictions(1).save(path)
    return read_source(path, replicates=100).diagnosis


def source(diagnosis: Diagnosis, path: str, *wrong: int, config=None, **meta) -> Source:
    """A source with a known accuracy, without diagnosing it anew; all else is as in ``diagnosis``."""
    accuracy = diagnosis.accuracy.fused.model_copy(update={"value": 1 - len(wrong) / N})
    found = diagnosis.model_copy(
        update={
            "accuracy": diagnosis.accuracy.model_copy(update={"fused": accuracy}),
            "data": diagnosis.data.model_copy(update={"meta": meta}),
        }
    )
    return Source(Path(path), found.data.meta, config or {}, found, predictions(*wrong, **meta), {})


def test_seeds_of_one_experiment_are_one_row(diagnosis):
    wrong = {"joint": [(0, 1, 2, 3), (0, 1), (4, 5, 6, 7, 8, 9)], "new": [(0,), (1,)]}
    sources = [
        source(diagnosis, f"{m}{s}.npz", *w, method=m, fusion="concat", seed=s)
        for m, seeds in wrong.items()
        for s, w in enumerate(seeds)
    ]
    found = compare_sources(sources, replicates=200)
    assert [(row.label, row.seeds) for row in found.rows] == [("joint", 3), ("new", 2)]
    accuracies = [36 / 40, 38 / 40, 34 / 40]
    mean = sum(accuracies) / 3
    figure = found.rows[0].figures["accuracy"]
    assert figure.value == pytest.approx(mean)
    assert figure.spread == pytest.approx(math.sqrt(sum((a - mean) ** 2 for a in accuracies) / 2))
    assert figure.low is None
    assert found.rows[1].test.accuracy.value == pytest.approx(39 / 40 - mean)
    assert found.rows[0].test is None


def test_what_differs_in_more_than_the_seed_is_another_row(diagnosis):
    first = source(diagnosis, "a", 1, method="joint", seed=0, config={"lr": 0.1})
    second = source(diagnosis, "b", 2, method="joint", seed=1, config={"lr": 0.2})
    again = source(diagnosis, "c", 3, method="joint", seed=0, config={"lr": 0.1})
    third = source(diagnosis, "d", 3, method="joint", store="other", seed=1, config={"lr": 0.1})
    found = compare_sources([first, second, again, third], replicates=100)
    assert [row.seeds for row in found.rows] == [1, 1, 1, 1], "the same seed twice is no repetition"
    assert found.rows[1].label == "joint (lr=0.2)"
    assert (
        compare_sources([first, source(diagnosis, "e", 3, method="joint", seed=1, config={"lr": 0.1})]).rows[0].seeds
        == 2
    )


def test_files_that_say_nothing_of_themselves_are_called_by_name(diagnosis):
    sources = [source(diagnosis, f"folder/{name}.npz", 1) for name in ("ours", "theirs")]
    assert [row.label for row in compare_sources(sources, replicates=100).rows] == ["ours", "theirs"]


def test_holm_covers_all_rows(diagnosis):
    sources = [source(diagnosis, str(k), *range(k)) for k in (12, 2, 9)]
    rows = compare_sources(sources, replicates=300).rows
    p = [row.test.p for row in rows[1:]]
    assert p[0] < p[1]
    assert [row.test.p_holm for row in rows[1:]] == pytest.approx([2 * p[0], max(2 * p[0], p[1])])


def test_what_is_not_tested_is_said(tmp_path):
    predictions(1).save(tmp_path / "first.npz")
    first = read_source(tmp_path / "first.npz", replicates=100)
    first.diagnosis.save(tmp_path / "diagnosis.json")
    found = compare([tmp_path / "first.npz", tmp_path / "diagnosis.json"], replicates=100)
    assert found.rows[1].figures["accuracy"].value == pytest.approx(39 / 40)
    assert found.rows[1].test is None
    assert "without predictions" in found.notes[0]
    with pytest.raises(UsageError, match="of the split 'test', not of 'val'"):
        compare([tmp_path / "diagnosis.json"], split="val")


def test_predictions_and_mappings_are_compared_as_files_are(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(80) % 4
    given = {name: {"labels": y, "logits_a": s * np.eye(4)[y] + rng.normal(size=(80, 4))} for name, s in NAMED.items()}
    for name, arrays in given.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    files = compare([tmp_path / f"{name}.npz" for name in given], replicates=100)
    for found in (
        compare(given, replicates=100),
        compare({n: Predictions.of(a) for n, a in given.items()}, replicates=100),
    ):
        assert [row.label for row in found.rows] == ["weak", "strong"]
        assert [row.figures for row in found.rows] == [row.figures for row in files.rows]
        assert found.rows[1].test == files.rows[1].test
    assert [row.figures for row in compare(given.values(), replicates=100).rows] == [row.figures for row in files.rows]


def test_a_missing_split_is_a_usage_error(tmp_path):
    predictions(1).save(tmp_path / "first.npz")
    with pytest.raises(UsageError, match="no split 'val'"):
        compare([tmp_path / "first.npz"], split="val")
    with pytest.raises(UsageError, match="nothing"):
        compare([])


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
    """Two seeds of joint training and one with weight decay, with the test followed by epoch."""
    store, folder = toy({"audio": 6, "video": 4}), tmp_path_factory.mktemp("runs")
    found = []
    for decay, seed in ((0.0, 0), (0.0, 1), (0.01, 0)):
        config = TrainConfig(
            data=str(store.path), epochs=2, seed=seed, optimistic=True, method=Choice(name="joint"), device="cpu"
        )
        config = config.model_copy(update={"optimiser": config.optimiser.model_copy(update={"weight_decay": decay})})
        found.append(train(config, out=folder / f"d{decay}-s{seed}"))
    return found


def test_runs_bring_their_epochs(runs):
    found = compare([run.folder for run in runs], replicates=100)
    assert [row.seeds for row in found.rows] == [2, 1]
    assert found.rows[0].label == "joint (optimiser.weight_decay=0.0)"
    for row, group in zip(found.rows, (runs[:2], runs[2:]), strict=True):
        summaries = [run.summary for run in group]
        assert row.figures["accuracy"].value == pytest.approx(np.mean([s["test"]["accuracy"] for s in summaries]))
        assert row.figures["nll"].value == pytest.approx(np.mean([s["test"]["nll"] for s in summaries]), abs=1e-4)
        assert row.last.value == pytest.approx(np.mean([s["last"]["test"]["accuracy"] for s in summaries]))
        assert row.optimistic.value == pytest.approx(np.mean([s["optimistic"]["test"]["accuracy"] for s in summaries]))
        assert row.optimistic.value >= row.figures["accuracy"].value
        assert [e.best_epoch for e in row.entries] == [s["best_epoch"] for s in summaries]
    assert found.rows[1].test.samples == 40


def test_a_stored_diagnosis_is_used_until_the_predictions_change(runs):
    folder = runs[0].folder
    found = read_source(folder, replicates=100).diagnosis
    found.model_copy(update={"verdict": ["as stored"]}).save(folder / "diagnosis.json")
    assert read_source(folder, replicates=100).diagnosis.verdict == ["as stored"]
    file = folder / "predictions" / "test.npz"
    known = Predictions.load(file)
    replace(known, fused=known.fused * 2, contribution={}).save(file)
    assert read_source(folder, replicates=100).diagnosis.verdict != ["as stored"]
    known.save(file)
    (folder / "diagnosis.json").unlink()


def test_a_method_s_own_figures_are_in_the_report(toy, tmp_path):
    from mmbal.engine.config import Choice, TrainConfig
    from mmbal.engine.train import train
    from mmbal.report.card import card
    from mmbal.report.compare import compare
    from mmbal.report.render import legend
    from mmbal.report.sources import read_source

    data = str(toy({"audio": 6, "video": 4}).path)
    config = TrainConfig(data=data, method=Choice(name="ogm"), epochs=2, batch_size=16, device="cpu")
    run = train(config, out=tmp_path / "ogm")
    found = compare([run.folder], replicates=100)
    recorded = found.rows[0].entries[0].method
    assert set(recorded) >= {"modulation/audio", "modulation/video"}
    assert not any(name.startswith("loss/") for name in recorded)
    assert any("modulation/audio" in line for line in legend(found))
    assert "| modulation/audio |" in card(run.folder, read_source(run.folder).diagnosis)
