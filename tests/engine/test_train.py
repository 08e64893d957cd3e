"""A run as a whole: killed and resumed, replayed from its config, kept from the test set, refused in clear words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmbal.config import read_yaml, validate
from mmbal.data.store.store import Store, seal
from mmbal.engine.checkpoint import attach_rule, load_model
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.dry_run import dry_run
from mmbal.engine.optimiser import learning_rate
from mmbal.engine.pretrain import pretrain
from mmbal.engine.session import Session
from mmbal.engine.tracking import new_run
from mmbal.engine.train import resume, train
from mmbal.errors import ConfigError, MmbalError, UsageError
from mmbal.files import locked
from mmbal.predictions.format import Predictions
from mmbal.runs import find_predictions, find_reference

ROOT = Path(__file__).parents[2]
DIMS = {"audio": 6, "video": 4}


def config(store: Store, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {"data": str(store.path), "epochs": 3, "batch_size": 16, "device": "cpu"}
    return TrainConfig(**(values | changes))


def state(folder: Path, file: str = "last.pt") -> dict[str, Any]:
    return torch.load(folder / file, weights_only=True)


def test_a_killed_run_resumes_to_the_same_bits(toy, tmp_path: Path):
    store = toy(DIMS)
    options = [
        "--data",
        str(store.path),
        "--epochs",
        "40",
        "--batch-size",
        "16",
        "--device",
        "cpu",
        "--method",
        "ogm_ge",
    ]
    command = [sys.executable, "-m", "mmbal", "train", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen([*command, "--out", str(tmp_path / "killed")], env=environment, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not metrics.is_file() or metrics.read_text().count("\n") < 2):
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 0 < metrics.read_text().count("\n") < 40
    resumed = [sys.executable, "-m", "mmbal", "train", "--resume", str(tmp_path / "killed")]
    subprocess.run(resumed, env=environment, check=True, capture_output=True)
    subprocess.run([*command, "--out", str(tmp_path / "whole")], env=environment, check=True, capture_output=True)
    a, b = state(tmp_path / "killed"), state(tmp_path / "whole")
    assert a["epoch"] == b["epoch"] == 40
    assert all(torch.equal(a["model"][k], b["model"][k]) for k in a["model"])
    assert metrics.read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_run_that_another_process_trains_is_left_alone(toy, tmp_path: Path):
    store, out = toy(DIMS), tmp_path / "run"
    train(config(store, epochs=1), out=out)
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    with locked(out):
        with pytest.raises(UsageError, match="Another mmbal process"):
            train(config(store), out=out, force=True)
        with pytest.raises(UsageError, match="Another mmbal process"):
            pretrain(config(store), out=out, force=True)
        with pytest.raises(UsageError, match="Another mmbal process"):
            resume(out, epochs=2)
    assert {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()} == before
    assert resume(out, epochs=2).summary["epochs"] == 2


def test_runs_without_a_name_get_a_number_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with new_run(None, "own", force=False) as first, new_run(None, "own", force=False) as second:
        assert [first, second] == [Path("runs/own"), Path("runs/own-2")]


def test_the_saved_config_gives_the_same_numbers(toy, tmp_path: Path):
    first = train(config(toy(DIMS), method=Choice(name="ogm_ge", alpha=0.3)), out=tmp_path / "first")
    again = validate(TrainConfig, read_yaml(first.folder / "config.yaml"))
    second = train(again, out=tmp_path / "second")
    assert first.summary | {"seconds": 0} == second.summary | {"seconds": 0}


def test_more_epochs_extend_a_finished_run(toy, tmp_path: Path):
    store = toy(DIMS)
    flat = OptimiserConfig(schedule="constant")
    short = train(config(store, epochs=2, optimiser=flat), out=tmp_path / "short")
    assert resume(short.folder).summary == short.summary
    longer = resume(short.folder, epochs=4)
    assert longer.summary["epochs"] == 4
    train(config(store, epochs=4, optimiser=flat), out=tmp_path / "long")
    a, b = state(short.folder), state(tmp_path / "long")
    assert all(torch.equal(a["model"][k], b["model"][k]) for k in a["model"])
    with pytest.raises(UsageError, match="is configured for 4 epochs"):
        resume(short.folder, epochs=1)


def rewritten(store: Store, out: Path, labels: np.ndarray) -> Store:
    """The same store with other labels."""
    out.mkdir()
    for m in store.modalities:
        np.save(out / f"{m}.npy", np.asarray(store.arrays[m]))
    rows = {"labels": labels, "ids": store.ids, "split": store.split}
    rows |= {f"present_{m}": store.present[m] for m in store.modalities}
    seal(out, name=store.name, classes=store.classes, modalities=store.modalities, rows=rows, meta={})
    return Store.open(out)


def test_the_test_labels_choose_nothing(toy, tmp_path: Path):
    store = toy(DIMS)
    test = store.split == "test"
    changed = rewritten(store, tmp_path / "changed", np.where(test, (store.labels + 1) % 3, store.labels))
    chosen = {"method": Choice(name="unimodal"), "fusion": Choice(name="adaptive", rule="pool")}
    a = train(config(store, **chosen), out=tmp_path / "a")
    b = train(config(changed, **chosen), out=tmp_path / "b")
    assert (a.folder / "metrics.jsonl").read_bytes() == (b.folder / "metrics.jsonl").read_bytes()
    assert a.summary["best_epoch"] == b.summary["best_epoch"]
    assert json.loads((a.folder / "rule.json").read_text()) == json.loads((b.folder / "rule.json").read_text())
    left, right = (Predictions.load(x.folder / "predictions" / "test.npz") for x in (a, b))
    assert np.array_equal(left.fused, right.fused)
    assert not np.array_equal(left.labels, right.labels)


def test_the_best_test_epoch_is_reported_only_when_asked_and_as_optimistic(toy, tmp_path: Path):
    plain = train(config(toy(DIMS)), out=tmp_path / "plain")
    asked = train(config(toy(DIMS), optimistic=True), out=tmp_path / "asked")
    assert "optimistic" not in plain.summary
    assert asked.summary["optimistic"]["test"]["accuracy"] >= asked.summary["test"]["accuracy"]
    assert asked.summary["test"] == plain.summary["test"]


def test_pretraining_gives_a_run_whose_encoders_and_figures_are_the_single_ones(toy, tmp_path: Path):
    store = toy(DIMS)
    done = pretrain(config(store, patience=2), out=tmp_path / "pre")
    whole = find_predictions(done.folder).select("test")
    for m in DIMS:
        alone = Predictions.load(done.folder / m / "predictions" / "test.npz")
        assert np.allclose(whole.logits[m], alone.fused, atol=1e-5)
        right = float((alone.fused.argmax(axis=1) == alone.labels).mean())
        assert done.summary["modalities"][m]["test"]["accuracy"] == pytest.approx(right)
    assert np.allclose(whole.fused, sum(whole.logits.values()), atol=1e-5)
    frozen = train(config(store, encoders_from=str(done.folder), freeze_encoders=True), out=tmp_path / "frozen")
    a, b = state(done.folder, "checkpoint.pt")["model"], state(frozen.folder)["model"]
    kept = [k for k in a if k.startswith("encoders.")]
    assert kept
    assert all(torch.equal(a[k], b[k]) for k in kept)
    reference = find_reference(frozen.folder)
    assert reference is not None
    assert reference.name == str(done.folder)
    assert find_reference(done.folder) is None


def test_the_reference_is_found_beside_the_run(toy, tmp_path: Path):
    train(config(toy(DIMS)), out=tmp_path / "runs" / "joint")
    assert find_reference(tmp_path / "runs" / "joint") is None
    pretrain(config(toy({"audio": 3, "video": 3})), out=tmp_path / "runs" / "of-another-store")
    assert find_reference(tmp_path / "runs" / "joint") is None
    pretrain(config(toy(DIMS)), out=tmp_path / "runs" / "pre")
    found = find_reference(tmp_path / "runs" / "joint")
    assert found is not None
    assert Path(found.name) == tmp_path / "runs" / "pre"


def test_a_stored_rule_decides(toy, tmp_path: Path):
    from mmbal.decision import fit_rule, rule_to_json

    run = train(config(toy(DIMS), fusion=Choice(name="sum")), out=tmp_path / "run")
    before = find_predictions(run.folder)
    rule = fit_rule(before.select("val"), "temperature")
    attach_rule(run.folder, rule_to_json(rule))
    after = find_predictions(run.folder)
    assert np.allclose(after.select("test").fused, rule.apply(before.select("test")))
    assert np.allclose(sum(after.contribution.values()), after.fused, atol=1e-6)  # single precision
    assert after.meta["rule"] == "temperature"
    assert load_model(run.folder).rule is not None


def test_a_hook_that_leaves_a_learning_part_in_evaluation_mode_is_told(toy):
    session = Session(config(toy(DIMS)))
    session.method.on_epoch_start = lambda run: run.model.encoders["audio"].net[1].eval()
    with pytest.raises(
        MmbalError, match=r"'encoders\.audio\.net\.1' learns, but is in evaluation mode: a hook of Joint"
    ):
        session.fit()


def test_frozen_parts_are_in_evaluation_mode_while_the_others_learn(toy, tmp_path: Path):
    store = toy(DIMS)
    pre = pretrain(config(store, epochs=1), out=tmp_path / "pre")
    session = Session(config(store, encoders_from=str(pre.folder), freeze_encoders=True))
    seen: list[tuple[bool, bool]] = []
    session.method.on_gradients = lambda output, batch, phase, run: seen.append(
        (any(m.training for m in run.model.encoders["audio"].modules()), run.model.fusion.training)
    )
    session.fit()
    assert set(seen) == {(False, True)}


def test_an_early_stop_tells_what_it_leaves_out(toy, tmp_path: Path):
    steps: list[int] = []
    done = train(
        config(toy(DIMS), epochs=30, patience=1, optimiser=OptimiserConfig(lr=3.0)),
        out=tmp_path / "run",
        report=lambda n, line: steps.append(n),
    )
    assert done.summary["epochs"] < 30
    assert steps == [1] * done.summary["epochs"] + [30 - done.summary["epochs"]]


def test_a_loss_that_is_not_finite_stops_with_the_remedy(toy, tmp_path: Path):
    with pytest.raises(MmbalError, match=r"became (NaN or infinite|nan|inf)") as caught:
        train(config(toy(DIMS), optimiser=OptimiserConfig(lr=1e30)), out=tmp_path / "run")
    assert "optimiser.lr" in caught.value.hint


def test_what_does_not_fit_is_refused(toy, tmp_path: Path):
    store, other = toy(DIMS), toy({"audio": 9, "video": 4})
    run = train(config(store), out=tmp_path / "run")
    with pytest.raises(UsageError, match="exists"):
        train(config(store), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="another shape"):
        train(config(other, encoders_from=str(run.folder)), out=tmp_path / "x")
    with pytest.raises(ConfigError, match="not the one"):
        resume(run.folder, epochs=5, data=str(other.path))
    with pytest.raises(UsageError, match="no modality 'smell'"):
        train(config(store, modalities=("smell",)), out=tmp_path / "x")
    with pytest.raises(UsageError, match="'cuda:77'"):
        train(config(store, device="cuda:77"), out=tmp_path / "x")
    with pytest.raises(ConfigError, match="at least 2"):
        train(config(store, modalities=("audio",), method=Choice(name="ogm_ge")), out=tmp_path / "x")
    with pytest.raises(UsageError, match="no checkpoint"):
        load_model(tmp_path)
    torch.save({"state": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        load_model(tmp_path / "foreign.pt")


def test_a_dry_run_writes_nothing(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    found = dry_run(config(toy(DIMS)))
    assert list(tmp_path.iterdir()) == []
    assert found["shapes"] == {"audio": [6], "video": [4]}
    # mlp: 6 x 128 + 128 + 128 x 64 + 64
    assert found["parameters"]["encoders.audio"] == 6 * 128 + 128 + 128 * 64 + 64
    assert found["parameters"]["fusion"] == 2 * 64 * 3 + 3


def test_learning_rates_by_hand():
    cosine = OptimiserConfig(lr=0.2, schedule="cosine")
    assert [learning_rate(cosine, e, 4) for e in (0, 2)] == pytest.approx([0.2, 0.1])
    step = OptimiserConfig(lr=1.0, schedule="step", step_epochs=2, gamma=0.5)
    assert [learning_rate(step, e, 9) for e in range(5)] == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_missing_modalities_are_trained_and_evaluated_with(toy, tmp_path: Path):
    store = toy(DIMS)
    out = tmp_path / "gaps"
    out.mkdir()
    for m in store.modalities:
        np.save(out / f"{m}.npy", np.asarray(store.arrays[m]))
    rows = {"labels": store.labels, "ids": store.ids, "split": store.split}
    rows |= {"present_audio": np.arange(len(store)) % 5 != 0, "present_video": np.ones(len(store), dtype=bool)}
    seal(out, name="gaps", classes=store.classes, modalities=store.modalities, rows=rows, meta={})
    for fusion in ("concat", "film", "adaptive"):
        choice = Choice(name=fusion, **({"rule": "pool"} if fusion == "adaptive" else {}))
        run = train(config(Store.open(out), fusion=choice), out=tmp_path / fusion)
        found = find_predictions(run.folder).select("test")
        assert found.missing
        assert np.isfinite(found.fused).all()


def test_the_session_keeps_the_test_split_out_of_the_run(toy):
    session = Session(config(toy(DIMS)))
    loaders = {value.split for value in vars(session.run).values() if hasattr(value, "split_rows")}
    assert loaders == {"train", "val"}
