"""`mmbal diagnose` at the terminal: the verdict first, JSON alone, gates with exit 3, and one sentence for what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from terminal import mmbal

from mmbal.diagnosis import Diagnosis
from mmbal.predictions.synthetic import GaussianWorld


def run(*arguments):
    return mmbal("diagnose", *arguments, "--bootstrap", "100", "--rule", "pool")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, dominance in (("loud", [1.0, 6.0]), ("fair", [1.0, 1.0])):
        world = GaussianWorld("abc", ["audio", "video"], [[1.8, 1.4, 1.4], [1.0, 1.5, 1.0]], dominance=dominance)
        world.sample(800, seed=0).save(folder / f"{name}.npz")
    return folder


@pytest.mark.parametrize("width", [80, 120])
def test_the_verdict_comes_first_and_every_line_fits(files, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    result = run(files / "loud.npz", "--full")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "test split, 400 samples, 3 classes" in lines[0]
    assert lines[2].startswith("Video decides")
    assert any("mmbal calibrate" in line for line in lines)
    assert all(len(line.rstrip()) <= width for line in lines if "mmbal" not in line)
    assert "Not computed: accuracy.reference, representation_gap" in result.stderr


def test_json_is_the_document_and_nothing_else(files, tmp_path):
    result = run(files / "loud.npz", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    out = tmp_path / "d.json"
    assert run(files / "loud.npz", "--out", out).exit_code == 0
    assert Diagnosis.load(out).model_dump(mode="json") == document
    again = run(files / "loud.npz", "--out", out)
    assert again.exit_code == 2
    assert "--force" in again.stderr


def test_a_gate_that_holds_exits_3_with_the_figure_and_its_interval(files):
    result = run(files / "loud.npz", "--fail-if", "index > 0.1", "--fail-if", "contribution.audio > 0.9")
    assert result.exit_code == 3
    assert "index = 0." in result.stderr
    assert "[" in result.stderr
    assert "contribution" not in result.stderr
    assert run(files / "fair.npz", "--fail-if", "index.low > 0.1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--fail-if", "indx > 0.1"], 2, "no figure 'indx'"),
        (["--fail-if", "index is high"], 2, "FIGURE OPERATOR NUMBER"),
        (["--split", "later"], 2, "no split 'later'"),
        (["--rule", "pol"], 2, "no rule 'pol'"),
        (["--human"], 4, "clip names"),
        (["--reference", "nowhere.npz"], 2, "nowhere.npz"),
    ],
)
def test_what_is_wrong_is_one_sentence(files, arguments, code, message):
    result = mmbal("diagnose", files / "loud.npz", "--rule", "pool", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_two_are_put_side_by_side_and_paired(files):
    result = run(files / "loud.npz", files / "fair.npz")
    assert result.exit_code == 0
    assert "Paired on 400 samples" in result.stdout
    assert "McNemar" in result.stdout
    document = json.loads(run(files / "loud.npz", files / "fair.npz", "--json").stdout)
    change = document["differences"][str(files / "fair.npz")]["figures"]
    assert change["index"]["high"] < 0


def test_a_feature_file_gets_a_head_and_a_note(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=150)
    z = {m: s * np.eye(3)[labels] + rng.normal(size=(150, 3)) for m, s in (("audio", 2.5), ("video", 1.0))}
    np.savez(tmp_path / "f.npz", **z, label=labels, modalities=np.array(["audio", "video"]))
    result = run(tmp_path / "f.npz")
    assert result.exit_code == 0
    assert "head fitted here" in result.stderr
    assert "Audio decides" in result.stdout
