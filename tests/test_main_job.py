"""The main job on real clips, from media to a mended decision layer, as the README tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import as_json

from mmbal.predictions.format import Predictions

SMALL = ["--encoder", "cnn", "--batch-size", "16", "--device", "cpu"]


@pytest.mark.slow
def test_spoken_digits_on_video_are_diagnosed_and_mended(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Audio is strong, the picture next to useless: the sum loses to audio alone, and calibration gets it back."""
    monkeypatch.chdir(tmp_path)
    as_json("prepare", shared_data / "grid_s1" / "digit.csv", "--out", "S", "--size", "48")
    as_json("pretrain", "--data", "S", *SMALL, "--epochs", "20", "--out", "runs/pre")
    as_json("train", "--data", "S", "--method", "ogm_ge", *SMALL, "--epochs", "3", "--out", "runs/ogm_ge")
    as_json("train", "--data", "S", "--fusion", "adaptive", *SMALL, "--epochs", "3", "--out", "runs/adaptive")
    late = ["--method", "unimodal", "--fusion", "sum", *SMALL, "--epochs", "20"]
    as_json("train", "--data", "S", *late, "--out", "runs/late")
    diagnosis = as_json("diagnose", "runs/late")
    assert "Audio decides" in " ".join(diagnosis["verdict"])
    summed = Predictions.load("runs/late/predictions/test.npz")
    alone = float((summed.logits["audio"].argmax(axis=1) == summed.labels).mean())
    as_is = float((summed.fused.argmax(axis=1) == summed.labels).mean())
    assert as_is <= alone
    as_json("calibrate", "runs/late", "--force")
    mended = as_json("report", "runs/late")["rows"][0]["figures"]["accuracy"]["value"]
    assert mended >= alone
    assert len(as_json("report", "runs/ogm_ge", "runs/adaptive", "runs/late")["rows"]) == 3


@pytest.mark.slow
def test_the_layout_of_this_field_s_users(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """AudioWAV, Image-03-FPS and the split lists, as the users of OGM-GE have CREMA-D on disk."""
    monkeypatch.chdir(tmp_path)
    root = shared_data / "grid_s1" / "cremad_like_digit"
    found = as_json("prepare", "cremad", "--root", root, "--out", "C", "--size", "32")
    assert found["splits"] == {"train": 135, "val": 15, "test": 50}
    run = as_json("train", "--data", "C", *SMALL, "--epochs", "1", "--out", "runs/c")["runs"][0]
    assert set(run) >= {"val", "test", "best_epoch"}
    as_json("diagnose", "runs/c")
