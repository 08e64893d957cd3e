"""The terminal: the main job by commands, JSON alone on stdout, one sentence and the right exit code for bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from terminal import as_json, mmbal, ok, refused

ROOT = Path(__file__).parents[2]
FAST = ["--epochs", "2", "--batch-size", "16", "--device", "cpu"]


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A feature file as a stranger would bring it, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 240)
    arrays = {
        m: (random.normal(size=(3, d))[labels] * scale + random.normal(size=(240, d))).astype(np.float32)
        for m, d, scale in (("audio", 8, 1.5), ("video", 5, 0.7))
    }
    np.savez(tmp_path / "features.npz", label=labels, **arrays)
    return tmp_path / "features.npz"


def test_the_main_job(features: Path, tmp_path: Path):
    prepared = as_json("prepare", features, "--out", "S")
    assert set(prepared["modalities"]) == {"audio", "video"}
    pretrained = as_json("pretrain", "--data", "S", *FAST, "--out", "P")
    assert set(pretrained["modalities"]) == {"audio", "video"}
    trained = as_json("train", "--data", "S", "--method", "ogm_ge", *FAST, "--out", "A")
    assert trained["runs"][0]["method"] == "ogm_ge"
    ok("train", "--data", "S", "--fusion", "sum", "--encoders", "P", "--freeze-encoders", *FAST, "--out", "B")
    ok("calibrate", "B", "--rule", "pool")
    diagnosis = json.loads(ok("diagnose", "B", "--json", "--bootstrap", "100"))
    assert diagnosis["schema_version"]
    ok("diagnose", "A", "--bootstrap", "100")
    ok("report", "A", "B", "--json")
    assert (tmp_path / "A" / "diagnosis.json").is_file()


def test_train_takes_the_latest_store_and_says_so(features: Path):
    ok("prepare", features)
    result = mmbal("train", "--fusion", "adaptive", "--set", "fusion.rule=pool", *FAST)
    assert result.exit_code == 0, result.output
    assert "stores/features" in result.stderr
    assert Path("runs/features-joint-adaptive-s0/checkpoint.pt").is_file()


def test_seeds_give_runs_and_their_spread(features: Path):
    ok("prepare", features, "--out", "S")
    shown = ok("train", "--data", "S", *FAST, "--seeds", "2", "--out", "R")
    assert "over 2 seeds" in shown
    assert Path("R-s0").is_dir()
    assert Path("R-s1").is_dir()


def test_a_dry_run_shows_shapes_and_time(features: Path):
    ok("prepare", features, "--out", "S")
    found = as_json("train", "--data", "S", "--dry-run")
    assert found["shapes"] == {"audio": [8], "video": [5]}
    assert not Path("runs").exists()


def test_config_file_options_and_overrides_in_this_order(features: Path):
    ok("prepare", features, "--out", "S")
    Path("c.yaml").write_text("data: S\nepochs: 7\nseed: 5\noptimiser: {lr: 0.3}\nmethod: {name: ogm_ge, alpha: 0.2}\n")
    found = json.loads(
        ok("train", "--config", "c.yaml", "--epochs", 2, "--set", "optimiser.lr=0.4", "--dry-run", "--json")
    )["config"]
    assert (found["epochs"], found["seed"], found["optimiser"]["lr"]) == (2, 5, 0.4)
    assert found["method"]["alpha"] == 0.2


def test_bad_input_gets_one_sentence_and_the_right_code(features: Path, tmp_path: Path):
    ok("prepare", features, "--out", "S")
    assert "did you mean" in refused(2, "train", "--data", "S", "--method", "ogm_gee").lower()
    assert "no fusion 'cat'" in refused(2, "train", "--data", "S", "--fusion", "cat")
    assert "not a store" in refused(2, "train", "--data", "nowhere")
    assert "optimiser.lrr" in refused(5, "train", "--data", "S", "--set", "optimiser.lrr=1")
    assert "no file" in refused(2, "diagnose", "nothing.npz")
    assert "nothing.csv" in refused(2, "prepare", "nothing.csv")
    assert "no encoder 'resnet81'" in refused(2, "train", "--data", "S", "--encoder", "resnet81")
    assert "not a run folder" in refused(2, "train", "--resume", ".")
    refused(2, "methods", "show", "ogm-ge")
    refused(2, "train", "--nonsense")
    np.savez("nan.npz", labels=np.array([0, 1]), logits_a=np.array([[0.0, np.nan], [1.0, 0.0]]))
    assert "NaN" in refused(4, "diagnose", "nan.npz")
    np.savez("shape.npz", labels=np.array([0, 1]), logits_a=np.zeros((2, 2)), logits_b=np.zeros((3, 2)))
    assert "logits_b" in refused(4, "calibrate", "shape.npz", "--split", "test")


class Bomb:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("exploded",))


def test_a_pickle_bomb_does_not_go_off(features: Path):
    ok("prepare", features, "--out", "S")
    torch.save({"model": Bomb()}, "bomb.pt")
    Path("run").mkdir()
    Path("run/config.yaml").write_text("data: S\n")
    os.rename("bomb.pt", "run/checkpoint.pt")
    assert "unpickles" in refused(5, "train", "--data", "S", "--encoders", "run")
    assert not Path("exploded").exists()


def test_methods_can_be_listed_and_shown(tmp_path: Path):
    listed = as_json("methods", "list")
    assert {"joint", "unimodal", "ogm_ge"} <= {d["name"] for d in listed}
    assert "h_m ~ N(0" in ok("methods", "show", "ogm_ge")
    assert "tanh" in ok("methods", "show", "ogm")


def test_the_doctor_finds_this_machine_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    found = as_json("doctor")
    assert all(c["ok"] for c in found["checks"]), found["checks"]


def test_help_needs_neither_numpy_nor_pydantic_nor_torch():
    """The page of all commands loads each of them, so none of their modules may import these at its top."""
    slow = ("numpy", "pydantic", "torch", "torchvision", "scipy", "sklearn", "av", "matplotlib")
    lines = [
        "import sys",
        "from mmbal.cli.app import app",
        "try: app(['--help'])",
        "except SystemExit: pass",
        f"sys.exit(any(name in sys.modules for name in {slow}))",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert b"diagnose" in done.stdout


def test_no_color_is_honoured_and_pipes_are_plain():
    environment = os.environ | {"NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "mmbal", "methods", "list", "--kind", "fusion"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert "\x1b[" not in done.stdout
    assert "concat" in done.stdout
