"""The main job on real clips, from media to a mended decision layer, as the README tells it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mmbal.cli.app import app
from mmbal.predictions.format import Predictions

SMALL = ["--encoder", "cnn", "--batch-size", "16", "--device", "cpu"]


def mmbal(*arguments: Any) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*(str(a) for a in arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_spoken_digits_on_video_are_diagnosed_and_mended(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Audio is strong, the picture next to useless: the sum loses to audio alone, and calibration gets it back."""
    monkeypatch.chdir(tmp_path)
    mmbal("prepare", shared_data / "grid_s1" / "digit.csv", "--out", "S", "--size", "48")
    mmbal("pretrain", "--data", "S", *SMALL, "--epochs", "20", "--out", "runs/pre")
    mmbal("train", "--data", "S", "--method", "ogm_ge", *SMALL, "--epochs", "3", "--out", "runs/ogm_ge")
    mmbal("train", "--data", "S", "--fusion", "adaptive", *SMALL, "--epochs", "3", "--out", "runs/adaptive")
    late = ["--method", "unimodal", "--fusion", "sum", *SMALL, "--epochs", "20"]
    mmbal("train", "--data", "S", *late, "--out", "runs/late")
    diagnosis = mmbal("diagnose", "runs/late")
    assert "Audio decides" in " ".join(diagnosis["verdict"])
    summed = Predictions.load("runs/late/predictions/test.npz")
    alone = float((summed.logits["audio"].argmax(axis=1) == summed.labels).mean())
    as_is = float((summed.fused.argmax(axis=1) == summed.labels).mean())
    assert as_is <= alone
    mmbal("calibrate", "runs/late", "--force")
    mended = mmbal("report", "runs/late")["rows"][0]["figures"]["accuracy"]["mean"]
    assert mended >= alone
    assert len(mmbal("report", "runs/ogm_ge", "runs/adaptive", "runs/late")["rows"]) == 3


@pytest.mark.slow
def test_the_layout_of_this_field_s_users(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """AudioWAV, Image-03-FPS and the split lists, as the users of OGM-GE have CREMA-D on disk."""
    monkeypatch.chdir(tmp_path)
    root = shared_data / "grid_s1" / "cremad_like_digit"
    found = mmbal("prepare", "cremad", "--root", root, "--out", "C", "--size", "32")
    assert found["splits"] == {"train": 135, "val": 15, "test": 50}
    run = mmbal("train", "--data", "C", *SMALL, "--epochs", "1", "--out", "runs/c")["runs"][0]
    assert set(run) >= {"val", "test", "best_epoch"}
    mmbal("diagnose", "runs/c")
