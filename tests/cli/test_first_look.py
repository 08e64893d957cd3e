"""`mmbal try`: files to a diagnosis in one command, and the epochs that fit a time."""

import re
import wave
from itertools import product

import numpy as np
import pytest
from PIL import Image
from terminal import mmbal, refused

from mmbal.config import validate
from mmbal.data.prepare import embedded_store
from mmbal.engine import budget
from mmbal.engine.config import TrainConfig

TONES = {"low": 300, "high": 1200}
PEOPLE = ("anna", "ben", "carl", "dora", "emil")


@pytest.fixture
def recordings(tmp_path):
    """A folder of class folders: a tone as sound and a grey picture for each sample; names show who spoke."""
    rng = np.random.default_rng(0)
    for (label, hertz), person, take in product(TONES.items(), PEOPLE, range(4)):
        stem = tmp_path / "tones" / label / f"{label}_{person}_{take}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        sound = 8000 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16000) + rng.normal(0, 500, 8000)
        with wave.open(f"{stem}.wav", "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(sound.astype("<i2").tobytes())
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(f"{stem}.png")
    return tmp_path / "tones"


def test_from_a_folder_to_a_diagnosis(recordings, tmp_path):
    result = mmbal("try", recordings, "--out", tmp_path / "look", "--minutes", 0.5)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.output.split())
    assert "The names of the files show 5 speakers" in shown
    assert "val carved from train" in shown
    assert "whole groups" in shown  # no speaker on both sides
    assert "pictures of 32 pixels a side" in shown
    assert re.search(
        r"Networks: (audio cnn, image cnn|image cnn, audio cnn) \(small: there is no GPU\)\. \d+ epochs", shown
    )
    assert "3. Which modality decides, and what that costs" in shown
    for name in ("clips.csv", "store/meta.json", "separate/checkpoint.pt", "joint/diagnosis.json", "joint/report.html"):
        assert (tmp_path / "look" / name).exists(), name
    assert "exists already" in refused(2, "try", recordings, "--out", tmp_path / "look")


def test_what_is_not_there_or_needs_no_training(tmp_path):
    assert "There is no file or folder" in refused(2, "try", tmp_path / "nothing")
    np.savez(tmp_path / "votes.npz", labels=np.arange(9) % 3, logits_a=np.eye(3)[np.arange(9) % 3])
    said = refused(2, "try", tmp_path / "votes.npz", "--out", tmp_path / "a")
    assert "holds the decisions of a model" in said
    assert f"mmbal diagnose {tmp_path / 'votes.npz'}" in said
    (tmp_path / "scores.csv").write_text("label,audio:no,audio:yes\nno,0.1,0.9\n")
    assert "mmbal import" in refused(4, "try", tmp_path / "scores.csv", "--out", tmp_path / "b")


@pytest.mark.parametrize(
    ("seconds", "trainings", "epochs", "fits"),
    [(100, 1, 16, True), (100, 2, 8, True), (1e6, 1, 60, True), (10, 1, 4, False)],
)
def test_epochs_that_fit(monkeypatch, seconds, trainings, epochs, fits):
    """1280 train, 320 + 400 held out: an epoch of 40 batches of 0.1 s costs 40 * 0.1 * (1.25 + 0.4 * 0.5625) = 5.9 s."""
    monkeypatch.setattr(budget, "dry_run", lambda config: {"batches": 40, "seconds_per_batch": 0.1})
    found = budget.epochs_within(validate(TrainConfig, {"data": str(embedded_store())}), seconds, trainings)
    assert (found.epochs, found.fits) == (epochs, fits)
    assert found.seconds == pytest.approx(trainings * epochs * 5.9)
