"""What was told while a file was read reaches the JSON document and the terminal, of every command that reads one."""

from __future__ import annotations

import numpy as np
import pytest
from terminal import as_json, mmbal, refused

from mmbal.diagnosis import diagnose
from mmbal.predictions.format import Predictions

LABELS = np.arange(90) % 3
SCORES = np.random.default_rng(0).normal(size=(90, 3)) + 2 * np.eye(3)[LABELS]
WORDS = "'logits_audio' holds probabilities, not logits"


@pytest.fixture
def file(tmp_path):
    p = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
    split = np.where(np.arange(90) // 3 % 2, "validation", "test")
    np.savez(tmp_path / "p.npz", labels=LABELS, logits_audio=p, logits_video=SCORES[::-1, ::-1] - SCORES, split=split)
    return tmp_path / "p.npz"


@pytest.mark.parametrize(
    "command",
    [["diagnose", "--rule", "sum", "--bootstrap", "100"], ["calibrate", "--rule", "sum", "--folds", "2", "--force"],
     ["report", "--bootstrap", "100"]],
)  # fmt: skip
def test_warnings_are_printed_on_stderr_and_kept_in_the_document(file, command):
    result = mmbal(command[0], file, *command[1:])
    assert result.exit_code == 0, result.output
    assert "Warning: " in result.stderr
    assert WORDS in result.stderr
    if command[0] != "report":
        told = as_json(command[0], file, *command[1:])
        assert WORDS in told.get("data", told)["warnings"][0]


def test_a_calibration_split_of_one_group_is_told_and_does_not_stop_calibrate(tmp_path):
    split = np.where(np.arange(90) // 3 % 2, "val", "test")
    group = np.where(split == "val", "anna", np.array(["ben", "carl", "dora"])[np.arange(90) // 6 % 3])
    np.savez(
        tmp_path / "p.npz",
        labels=LABELS,
        logits_a=SCORES,
        logits_b=SCORES[::-1, ::-1] - SCORES,
        split=split,
        group=group,
    )
    result = mmbal("calibrate", tmp_path / "p.npz", "--rule", "temperature", "--force")
    assert result.exit_code == 0, result.output
    assert "all samples of the split 'val' are of one group ('anna')" in " ".join(result.stderr.lower().split())


def test_the_rule_is_never_fitted_on_the_rows_that_are_diagnosed(file):
    whole = Predictions.load(file)
    for name in ("dev", "validation", "cal", "val"):
        found = diagnose(whole, split=name, rule="sum", bootstrap=100)
        assert found.data.samples == 45
        assert found.settings.fitted_on == "cross-fitted in the split"
    assert diagnose(whole, rule="sum", bootstrap=100).settings.fitted_on == "calibration split"


@pytest.mark.parametrize("command", ["diagnose", "calibrate", "report"])
def test_a_file_of_another_kind_is_one_sentence(tmp_path, command):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x95\x00")
    assert "is a pickle, not an .npz archive" in refused(4, command, tmp_path / "x.pkl")
