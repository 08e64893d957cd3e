"""The examples, run as a reader would run them, on real data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmbal.diagnosis import Diagnosis

ROOT = Path(__file__).parents[2]


def run(folder: Path, *command: str | Path) -> str:
    """Standard output of a command in ``folder``, with `mmbal` on the path as after an installation."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "mmbal").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmbal "$@"\n')
    (programs / "mmbal").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_own_clips(shared_data: Path, tmp_path: Path):
    """Eight clips each of people who say `bin` and `set`, in a folder per class."""
    for letter, word in {"b": "bin", "s": "set"}.items():
        (tmp_path / "clips" / word).mkdir(parents=True)
        for file in sorted((shared_data / "grid_s1" / "clips").glob(f"{letter}*.mpg"))[:8]:
            shutil.copy(file, tmp_path / "clips" / word)
    said = run(tmp_path, "sh", ROOT / "examples" / "own_clips.sh", "clips", "1")
    assert "16 samples in clips.csv" in said
    assert "Clean: nothing missing, nothing suspicious. Store: stores/clips" in said
    assert re.search(r"There are only \d samples: too few for a verdict", said)
    # A few validation clips may show that a rule is as good, or not.
    assert re.search(r"Decided by (the stored rule 'adaptive'|the model as it is)\.", said)
    assert len(re.findall(r"clips/(?:bin|set)/\w+\.mpg", said)) == 16


@pytest.mark.slow
def test_own_clips_learn(shared_data: Path, tmp_path: Path):
    """Digits spoken by one person, cut out of 200 clips by a table: better than chance after the example's own epochs."""
    (tmp_path / "clips").symlink_to(shared_data / "grid_s1" / "clips")
    shutil.copy(shared_data / "grid_s1" / "digit.csv", tmp_path / "digit.csv")
    said = run(tmp_path, "sh", ROOT / "examples" / "own_clips.sh", "digit.csv")
    assert "mmbal predict runs/clips FILE" in said
    found = Diagnosis.load(tmp_path / "runs" / "clips" / "diagnosis.json")
    assert found.accuracy.above_chance is not None
    assert found.accuracy.above_chance.sign > 0
    assert found.accuracy.fused.value > 0.5


@pytest.mark.slow
def test_own_model(shared_data: Path, tmp_path: Path):
    """Three descriptions of 15 kinds of scenes: the fitted rule beats the plain sum of a jointly trained model."""
    features = shared_data / "features" / "scene15_gist_phog_lbp.npz"
    said = run(tmp_path, sys.executable, ROOT / "examples" / "own_model.py", features)
    assert "where the modalities disagree, the model follows" in said
    before, after = (float(share) for share in re.findall(r"([\d.]+)% of the test rows", said))
    assert after > before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "needs", "shown"),
    [
        ("film", (), "An absent modality is replaced by zeros"),
        ("lightning", ("lightning",), "imbalance index"),
        ("transformers", ("transformers", "accelerate"), "Text"),
        ("dataframe", ("pandas",), "An absent modality is replaced by its mean"),
        ("black_boxes", (), "the model's own mask hides it"),
    ],
)
def test_models_of_other_frameworks(tmp_path: Path, name: str, needs: tuple[str, ...], shown: str):
    """Each prints the verdict and how often the model is right before and after the fitted rule, which does no harm."""
    for package in needs:
        pytest.importorskip(package)
    said = run(tmp_path, sys.executable, ROOT / "examples" / f"explain_{name}.py")
    assert shown in said
    assert re.search(r"(redundant|additive|synergistic|no clear interaction), [+-]\d\.\d\d nats", said)
    before = re.search(r"as it is: ([\d.]+)%", said)
    after = re.search(r"with the fitted rule: ([\d.]+)%", said)
    assert before is not None
    assert after is not None
    assert float(after[1]) > float(before[1]) - 3
