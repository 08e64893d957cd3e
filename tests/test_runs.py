"""The folder of a run: its stored rule, its reference, and the one way from a path to the decisions behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbal.data.store.store import Store
from mmbal.decision import fit_rule, rule_to_json
from mmbal.engine.checkpoint import attach_rule, detach_rule, load_model
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.evaluate import summarise
from mmbal.engine.missing import evaluate_missing
from mmbal.engine.pretrain import pretrain
from mmbal.engine.train import resume, train
from mmbal.errors import DataError, UsageError
from mmbal.files import read_json, write_json
from mmbal.maths.folds import folds_of
from mmbal.predictions.format import Predictions
from mmbal.predictions.order import canonical_order
from mmbal.runs import (
    RULE,
    decided_by,
    find_predictions,
    find_reference,
    prediction_file,
    read_environment,
    read_summary,
    subject,
)

ROOT = Path(__file__).parents[1]
DIMS = {"audio": 6, "video": 4}


def config(store: Store, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {"data": str(store.path), "epochs": 2, "batch_size": 16, "device": "cpu"}
    return TrainConfig(**(values | changes))


@pytest.fixture(scope="module")
def late(toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a rule."""
    return train(config(toy(DIMS), fusion=Choice(name="sum")), out=tmp_path_factory.mktemp("late") / "run").folder


@pytest.fixture(scope="module")
def ruled(toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose fusion has a rule of its own."""
    fusion = Choice(name="adaptive", rule="pool")
    return train(config(toy(DIMS), fusion=fusion), out=tmp_path_factory.mktemp("ruled") / "run").folder


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def store_rule(folder: Path, name: str, folds: int = 5, seed: int = 0) -> None:
    trained = find_predictions(folder, ruled=False)
    attach_rule(folder, rule_to_json(fit_rule(trained.select("val"), name)), folds=folds, seed=seed)


def test_it_needs_no_torch():
    avoided = ("torch", "mmbal.engine", "mmbal.methods")
    code = f"import sys; import mmbal.runs; sys.exit(any(m in sys.modules for m in {avoided}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_no_row_is_decided_by_a_rule_that_was_fitted_on_it(late: Path, tmp_path: Path):
    folder = copy(late, tmp_path / "run")
    before = find_predictions(folder)
    store_rule(folder, "pool", folds=4, seed=3)
    after = find_predictions(folder)
    val, test = before.select("val"), before.select("test")
    expected = np.empty_like(val.fused)
    order = canonical_order(val)  # folds do not depend on the order of the rows
    fold = np.empty(len(val), dtype=int)
    fold[order] = folds_of(val.labels[order], 4, 3)
    for k in range(4):
        rule = fit_rule(val.take(fold != k), "pool")
        for row in np.flatnonzero(fold == k):
            expected[row] = rule.apply(val.take(np.array([row])))[0]
    assert after.select("val").fused == pytest.approx(expected, abs=1e-5)
    assert after.select("test").fused == pytest.approx(fit_rule(val, "pool").apply(test), abs=1e-5)
    assert np.abs(after.select("val").fused - fit_rule(val, "pool").apply(val)).max() > 1e-3, "in sample it differs"
    for found in (after.select("val"), after.select("test")):
        assert sum(found.contribution.values()) == pytest.approx(found.fused, abs=1e-5)
        assert found.subsets[found.modalities] == pytest.approx(found.fused)
    assert after.meta["rule"] == "pool"
    assert after.logits["audio"] == pytest.approx(before.logits["audio"])


def test_the_summary_of_a_fusion_with_a_rule_has_the_figures_of_its_predictions(ruled: Path):
    found, summary = find_predictions(ruled), read_summary(ruled)
    for split in ("val", "test"):
        assert summarise(found.select(split)) == pytest.approx(summary[split], abs=1e-6)
    val = find_predictions(ruled, ruled=False).select("val")
    in_sample = summarise(Predictions.from_arrays({"labels": val.labels, **_logits(val)}))
    assert in_sample["nll"] != pytest.approx(summary["val"]["nll"], abs=1e-4)


def _logits(val: Predictions) -> dict[str, np.ndarray]:
    arrays = {f"logits_{m}": value for m, value in val.logits.items()}
    return arrays | {"fused": fit_rule(val, "pool").apply(val), "classes": np.array(val.classes)}


def test_another_split_can_be_the_fitted_one(late: Path, tmp_path: Path):
    folder = copy(late, tmp_path / "run")
    trained = find_predictions(folder)
    rule = fit_rule(trained.select("test"), "pool")
    attach_rule(folder, rule_to_json(rule), split="test")
    after = find_predictions(folder)
    assert after.select("val").fused == pytest.approx(rule.apply(trained.select("val")), abs=1e-5)
    assert np.abs(after.select("test").fused - rule.apply(trained.select("test"))).max() > 1e-3
    assert read_json(folder / RULE)["fitted"] == {"split": "test", "folds": 5, "seed": 0}


@pytest.mark.parametrize("kind", ["late", "ruled"])
def test_a_stored_rule_can_be_taken_back(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    folder = copy(request.getfixturevalue(kind), tmp_path / "run")
    before, rule = find_predictions(folder), load_model(folder).rule_name
    assert rule == ("pool" if kind == "ruled" else None)
    store_rule(folder, "temperature")
    assert load_model(folder).rule_name == find_predictions(folder).meta["rule"] == "temperature"
    store_rule(folder, "bias")
    assert not np.array_equal(find_predictions(folder).fused, before.fused)
    detach_rule(folder)
    assert np.array_equal(find_predictions(folder).fused, before.fused)
    assert find_predictions(folder).meta == before.meta
    assert load_model(folder).rule_name == rule


def test_a_run_of_0_1_0_kept_the_rule_alone(late: Path, tmp_path: Path):
    """It is read as if calibrated with the defaults of `mmbal calibrate`."""
    folder = copy(late, tmp_path / "run")
    store_rule(folder, "pool")
    now = find_predictions(folder)
    for split in ("val", "test"):
        prediction_file(folder, split, "rule_").unlink()
    write_json(folder / RULE, {key: value for key, value in read_json(folder / RULE).items() if key != "fitted"})
    old = find_predictions(folder)
    assert old.fused == pytest.approx(now.fused, abs=1e-5)
    assert old.meta == now.meta


def test_decisions_of_other_rows_are_refused(late: Path, tmp_path: Path):
    folder = copy(late, tmp_path / "run")
    store_rule(folder, "pool")
    file = prediction_file(folder, "test", "rule_")
    Predictions.load(file).take(np.arange(5)).save(file)
    with pytest.raises(DataError, match="other samples"):
        find_predictions(folder)


def test_training_further_forgets_the_rule_and_the_pages(late: Path, tmp_path: Path):
    folder = copy(late, tmp_path / "run")
    store_rule(folder, "pool")
    (folder / "CARD.md").write_text("old")
    resume(folder, epochs=3)
    assert sorted(p.name for p in folder.rglob("*") if "rule" in p.name or p.name == "CARD.md") == []
    assert load_model(folder).rule is None


def test_without_a_modality_the_stored_rule_decides_too(late: Path, tmp_path: Path):
    """By hand for the pool, log p = sum_m w_m beta_m log p_m over the modalities that are there."""
    folder = copy(late, tmp_path / "run")
    plain = evaluate_missing(folder, impute=["zero"], device="cpu")
    assert plain.rule is None
    store_rule(folder, "pool")
    found = evaluate_missing(folder, impute=["zero"], device="cpu")
    assert found.rule == "pool"
    test, state = find_predictions(folder).select("test"), read_json(folder / RULE)["state"]
    strength = dict(zip(test.modalities, np.multiply(state["weight"], state["beta"]), strict=True))
    for case in (found.complete, *found.cases):
        right, loss = 0, 0.0
        for row, label in enumerate(test.labels):
            scores = np.zeros(len(test.classes))
            for m in test.modalities:
                if m not in case.absent:
                    logits = test.logits[m][row]
                    scores += strength[m] * (logits - np.log(np.exp(logits).sum()))
            right += int(scores.argmax() == label)
            loss -= scores[label] - np.log(np.exp(scores).sum())
        assert case.accuracy.value == pytest.approx(right / len(test))
        assert case.nll.value == pytest.approx(loss / len(test), abs=1e-4)
    assert found.complete.nll.value != pytest.approx(plain.complete.nll.value, abs=1e-3)


def test_the_reference_is_the_run_that_it_started_from_wherever_one_stands(
    toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    store = toy(DIMS)
    pretrain(config(store, epochs=1), out="first")
    run = train(config(store, epochs=1, encoders_from="first"), out="runs/started").folder
    beside = train(config(store, epochs=1), out="runs/beside").folder
    assert find_reference(beside) is None
    pretrain(config(store, epochs=1), out="runs/older")
    pretrain(config(store, epochs=1), out="runs/newer")
    os.utime("runs/older/summary.json", (1, 1))
    assert Path(find_reference(beside).name) == Path("runs/newer")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = find_reference(tmp_path / run)
    assert Path(found.name) == tmp_path / "first"
    assert subject(tmp_path / run).reference.name == found.name
    assert find_reference(tmp_path / "runs" / "newer") is None, "separately trained encoders are their own reference"
    assert Path(read_environment(tmp_path / run)["directory"]) == tmp_path


def test_a_path_that_holds_nothing_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="not a run folder"):
        subject(tmp_path)
    with pytest.raises(UsageError, match="no file"):
        subject(tmp_path / "p.npz")


def test_the_sentence_about_the_rule():
    assert decided_by("pool") == "Decided by the stored rule 'pool'."
    assert decided_by(None) == "Decided by the model as it is."
