"""Files are whole or not there, and nothing is ever unpickled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mmbal.errors import ConfigError
from mmbal.files import atomic, read_tensors, write_json, write_tensors


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})
    before = target.read_bytes()

    def fail() -> None:
        with atomic(target) as temporary:
            temporary.write_text("half")
            raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"):
        fail()
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.json"]


def test_nan_is_not_json(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, "bomb.pt")
    with pytest.raises(ConfigError, match="never unpickles"):
        read_tensors(tmp_path / "bomb.pt")
    assert not Path("exploded").exists()


def test_damaged_tensors_are_named(tmp_path: Path):
    write_tensors(tmp_path / "x.pt", {"a": torch.zeros(1000)})
    whole = (tmp_path / "x.pt").read_bytes()
    for cut in (0, 10, len(whole) // 2):
        (tmp_path / "cut.pt").write_bytes(whole[:cut])
        with pytest.raises(ConfigError, match=r"cut\.pt"):
            read_tensors(tmp_path / "cut.pt")
