"""The balanced set: cross-fitted confidences, the draw in training, the view, and the bins of the diagnosis."""

import json
from dataclasses import replace

import numpy as np
import pytest
from terminal import as_json, ok, refused

from mmbal.data.store.balanced import balance_discrepancy, unimodal_confidences
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import train
from mmbal.errors import DataError, UsageError
from mmbal.predictions.format import Predictions


@pytest.fixture
def store(toy):
    return toy({"audio": 6, "video": 4}, rows=400)


def test_confidences_are_cross_fitted(store):
    rows = store.rows("train")
    random = np.random.default_rng(0)
    shuffled = replace(store, labels=random.permutation(store.labels))
    found = unimodal_confidences(shuffled, rows, ("audio", "video"))
    for m in ("audio", "video"):  # labels by chance can't be known: no more than 1/C on rows that were held out
        assert found[m].mean() == pytest.approx(1 / 3, abs=0.05)
    real = unimodal_confidences(store, rows, ("audio", "video"))
    assert real["audio"].mean() > real["video"].mean() > 0.4


def test_a_missing_modality_has_no_confidence(store):
    rows = store.rows("train")
    present = {"audio": store.present["audio"].copy(), "video": store.present["video"]}
    present["audio"][rows[:7]] = False
    found = unimodal_confidences(replace(store, present=present), rows, ("audio", "video"))
    assert (found["audio"][:7] == 0).all()
    assert (found["audio"][7:] > 0).all()


def test_an_epoch_draws_the_cells_of_each_class_alike(store):
    config = TrainConfig(
        data=str(store.path), epochs=1, method=Choice(name="balanced_set", bins=2, repeats=100), device="cpu"
    )
    session = Session(config)
    method, run = session.method, session.run
    rows = run.train.split_rows
    drawn = method.sampler(run)
    assert len(drawn) == len(rows)
    position = {row: i for i, row in enumerate(rows)}
    cells = method.cells[[position[row] for row in drawn]]
    labels = store.labels[drawn]
    for label in range(3):
        assert (labels == label).sum() == (store.labels[rows] == label).sum()
        counts = np.bincount(cells[labels == label], minlength=4)
        had = np.bincount(method.cells[store.labels[rows] == label], minlength=4) > 0
        assert np.ptp(counts[had]) <= 1


def test_its_figures_are_recorded(store, tmp_path):
    config = TrainConfig(data=str(store.path), epochs=1, method=Choice(name="balanced_set"), device="cpu")
    train(config, out=tmp_path / "run")
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    figures = json.loads(line)["train"]
    before, drawn = ([figures[f"{k}/{m}"] for m in ("audio", "video")] for k in ("preferred_before", "preferred_drawn"))
    assert sum(before) == pytest.approx(1) == sum(drawn)
    assert abs(drawn[0] - 0.5) < abs(before[0] - 0.5)


def test_the_view_is_uniform_in_train_and_untouched_elsewhere(store, tmp_path):
    view = balance_discrepancy(store, tmp_path / "view", bins=2, repeats=100)
    told = view.meta["discrepancy"]
    after = [n for m in ("audio", "video") for n, had in zip(told["after"][m], told["before"][m], strict=True) if had]
    assert max(after) - min(after) <= 1
    assert view.splits() == store.splits()
    for split in ("val", "test"):
        assert view.ids[view.split == split].tolist() == store.ids[store.split == split].tolist()
    assert not list(view.path.glob("*.npy"))
    assert view.verify() == []
    with pytest.raises(UsageError, match="exists"):
        balance_discrepancy(store, tmp_path / "view")


def test_the_view_of_given_predictions_by_hand(store, tmp_path):
    train_rows = store.rows("train")
    likely = np.full((len(train_rows), 3), 0.0)
    likely[np.arange(len(train_rows)), store.labels[train_rows]] = np.where(np.arange(len(train_rows)) < 50, 3.0, 0.0)
    given = Predictions.from_arrays(
        {
            "labels": store.labels[train_rows],
            "ids": store.ids[train_rows],
            "logits_audio": likely,
            "logits_video": np.zeros_like(likely),
        }
    )
    view = balance_discrepancy(store, tmp_path / "view", predictions=given, bins=2, repeats=100)
    # 50 rows are audio-preferred by p - 1/3 = e^3 / (e^3 + 2) - 1/3 = 0.576; 150 are ties, which go to audio by name.
    assert view.meta["discrepancy"]["before"] == {"audio": [150, 50], "video": [0, 0]}
    assert view.meta["discrepancy"]["after"] == {"audio": [100, 100], "video": [0, 0]}
    with pytest.raises(DataError, match="190 of 200 samples"):
        balance_discrepancy(store, tmp_path / "other", predictions=given.take(np.arange(10)))


def test_the_command_writes_the_view(store, tmp_path):
    document = as_json("prepare", store.path, "--out", tmp_path / "balanced", "--balance-discrepancy")
    assert document["store"] == str(tmp_path / "balanced")
    assert sum(map(sum, document["after"].values())) == 200
    assert "0.8 to 1.0" in ok("prepare", store.path, "--out", tmp_path / "again", "--balance-discrepancy")
    told = refused(2, "prepare", tmp_path / "nothing", "--balance-discrepancy")
    assert "not a store" in told
