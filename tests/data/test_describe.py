"""`mmbal doctor FILE` knows every kind of file that mmbal reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import mmbal
from mmbal.data.describe import describe_any
from mmbal.errors import UsageError
from mmbal.files import write_json, write_tensors


@pytest.fixture
def files(tmp_path, clip) -> dict[str, Path]:
    clip(tmp_path / "c.mp4", seconds=0.5)
    clip(tmp_path / "s.wav", seconds=0.5)
    from PIL import Image

    for k in range(2):
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 100 + k, np.uint8)).save(tmp_path / "frames" / f"{k}.png")
    (tmp_path / "m.jsonl").write_text('{"path": "s.wav", "label": "x"}\n')
    (tmp_path / "t.txt").write_text("two dogs")
    (tmp_path / "c.yaml").write_text("data: stores/x\nepochs: 3\n")
    np.save(tmp_path / "f.npy", np.array([1.0, np.nan]))
    savemat(tmp_path / "f.mat", {"audio": np.ones((6, 3)) * np.arange(6)[:, None], "y": np.arange(6) % 2})
    np.savez(tmp_path / "f.npz", label=np.arange(20) % 2, audio=np.random.default_rng(0).normal(size=(20, 3)))
    write_tensors(tmp_path / "w.pt", {"state": {"a": 1}, "epoch": 3})
    write_json(tmp_path / "r.json", {"format": "mmbal.rule", "name": "sum", "version": 1})
    mmbal.prepare(tmp_path / "f.npz", out=tmp_path / "store")
    return {file.name: file for file in tmp_path.iterdir()}


def test_every_kind_is_named_with_its_parts(files):
    kinds = {
        "c.mp4": ("a clip", "video 0"),
        "s.wav": ("a clip", "audio 0"),
        "frames": ("a folder of frames", "frames"),
        "m.jsonl": ("a manifest", "audio"),
        "t.txt": ("a text", "text"),
        "c.yaml": ("a configuration", "data"),
        "f.npy": ("a single array", "f.npy"),
        "f.mat": ("a feature file", "audio"),
        "f.npz": ("a feature file", "label"),
        "w.pt": ("a checkpoint", "state"),
        "r.json": ("a stored decision rule", "format"),
        "store": ("a store", "audio"),
    }
    for name, (kind, part) in kinds.items():
        found = describe_any(files[name])
        assert found.kind.startswith(kind), name
        assert part in [p.name for p in found.parts], (name, found)
        assert not found.problem, (name, found.problem)
    assert describe_any(files["f.npy"]).remarks == ["1 entries are NaN or infinite"]


def test_what_can_not_be_used_is_a_problem_in_a_sentence(tmp_path):
    for name, content in {
        "c.mp4": b"not a film",
        "p.png": b"nor a picture",
        "m.jsonl": b"{}\n",
        "w.pt": b"PK\x03\x04",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert describe_any(tmp_path / name).problem, name
    (tmp_path / "empty").mkdir()
    assert "neither a store" in describe_any(tmp_path / "empty").problem
    with pytest.raises(UsageError):
        describe_any(tmp_path / "none")
