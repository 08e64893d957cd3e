"""`mmbal doctor FILE`: what a file seems to hold, and what looks wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from terminal import mmbal, ok

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
SCORES = RNG.normal(size=(60, 3)) + 3 * np.eye(3)[LABELS]


def look(*arguments):
    result = mmbal("doctor", *arguments, "--json")
    return result, json.loads(result.stdout)["files"] if result.stdout else []


def test_a_predictions_file_array_by_array(tmp_path):
    p = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
    np.savez(
        tmp_path / "p.npz", labels=LABELS, logits_audio=SCORES, logits_video=p, split=np.array(["val", "test"] * 30)
    )
    result, (found,) = look(tmp_path / "p.npz")
    assert result.exit_code == 0
    assert found["kind"] == "a predictions file"
    seems = {part["name"]: part["seems"] for part in found["parts"]}
    assert seems["labels"] == "class of each sample: whole numbers from 0 to 2, 3 values"
    assert seems["logits_audio"].startswith("decision of audio alone: logits, ")
    assert seems["logits_video"].startswith("decision of video alone: probabilities, ")
    assert seems["split"] == "split of each sample: test, val"
    assert {part["name"]: part["shape"] for part in found["parts"]}["logits_audio"] == "60 x 3"
    assert found["remarks"] == [
        "'logits_video' holds probabilities, not logits: their logarithms were taken",
        "the scores of 'video' are those of 'audio' plus a number a row: is one a copy of the other?",
    ]


def test_what_is_refused_is_described_all_the_same(tmp_path):
    bits = (SCORES.astype("f4").view("u4") >> 16).astype("u2")
    np.savez(tmp_path / "p.npz", labels=LABELS, logits_audio=bits)
    result, (found,) = look(tmp_path / "p.npz")
    assert result.exit_code == 4
    assert "bit patterns of bfloat16" in {part["name"]: part["seems"] for part in found["parts"]}["logits_audio"]
    assert "'logits_audio' holds uint16" in found["problem"]
    assert "'logits_audio' holds uint16" in result.stderr


def test_labels_that_look_shifted(tmp_path):
    six = RNG.integers(0, 5, 100)
    np.savez(tmp_path / "p.npz", labels=six + 1, logits_m=RNG.normal(size=(100, 6)) + 4 * np.eye(6)[six])
    result, (found,) = look(tmp_path / "p.npz")
    assert result.exit_code == 0
    assert "shifted by one class" in found["remarks"][0]


def test_a_feature_file_and_a_table(tmp_path):
    features = np.where(np.arange(60)[:, None] == 7, 0, SCORES)
    np.savez(tmp_path / "f.npz", y=LABELS, audio=features, more=np.ones(60))
    (tmp_path / "s.csv").write_text(
        "id;label;m:x;m:y\n" + "".join(f"{k};{'xy'[k % 2]};{k % 2};{k}%\n" for k in range(20))
    )
    (tmp_path / "m.csv").write_text("path,label\na.mp4,x\nb.mp4,y\n")
    result, found = look(tmp_path / "f.npz", tmp_path / "s.csv", tmp_path / "m.csv")
    assert result.exit_code == 0
    assert [one["kind"] for one in found] == ["a feature file", "a table of scores, 20 rows", "a manifest, 2 rows"]
    assert "'audio' is zero throughout in 1 of 60 rows (7)" in found[0]["remarks"][0]
    assert "'more' (60,) was not used" in found[0]["remarks"]
    seems = {part["name"]: part["seems"] for part in found[1]["parts"]}
    assert seems == {
        "id": "ids: 0 to 19",
        "label": "labels: 2 values: x, y",
        "m:x": "score of class 'x' by m: 0 to 1",
        "m:y": "score of class 'y' by m: 0 to 19, with percent signs",
    }


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("d.pkl", b"\x80\x04\x95", 4, "is a pickle"),
        ("t.csv", b"a,b\n1,2\n", 4, "no column <modality>:<class>"),
    ],
)
def test_other_files_are_named(tmp_path, name, content, code, words):
    (tmp_path / name).write_bytes(content)
    result, _ = look(tmp_path / name)
    assert result.exit_code == code
    assert words in result.stderr
    assert look(tmp_path / "none.npz")[0].exit_code == 2


def test_the_terminal_shows_it_in_words(tmp_path):
    np.savez(tmp_path / "p.npz", labels=LABELS, logits_audio=SCORES)
    shown = ok("doctor", tmp_path / "p.npz", env={"COLUMNS": "150"})
    assert "decision of audio alone: logits" in shown
    assert "Nothing looks wrong." in shown


def test_a_policy_gate_by_gate(tmp_path):
    (tmp_path / "mmbal.yaml").write_text("gates:\n  - {name: both are used, fail_if: index > 0.2, severity: warning}\n")
    _, (found,) = look(tmp_path / "mmbal.yaml")
    assert found["kind"] == "a policy, 1 gate"
    assert found["parts"] == [
        {"name": "both are used", "type": "warning", "shape": "", "seems": "fails if index > 0.2"}
    ]
    (tmp_path / "mmbal.yaml").write_text("gates:\n  - {name: both are used, fail_if: index}\n")
    result, (found,) = look(tmp_path / "mmbal.yaml")
    assert result.exit_code == 4
    assert "gate 'both are used'" in found["problem"]


def test_a_name_does_not_steer_the_terminal(tmp_path):
    names = np.array(["\x1b[2Jred", "\u202eabc", "\u05d0 [b] 😀"])
    np.savez(tmp_path / "p.npz", labels=names[LABELS], classes=names, logits_audio=SCORES)
    shown = ok("doctor", tmp_path / "p.npz", env={"COLUMNS": "200"})
    assert all(name in shown for name in ("\\x1b[2Jred", "\\u202eabc", "\u05d0 [b] 😀"))
    assert not {"\x1b", "\u202e"} & set(shown)
