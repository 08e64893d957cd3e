"""Files are whole or not there, and nothing is ever unpickled."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from mmbal.errors import ConfigError, UsageError
from mmbal.files import atomic, locked, read_tensors, refuse_existing, write_json, write_tensors


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


HOLD = """
import sys
from pathlib import Path
from mmbal.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds ``path`` until it reads a line."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=pipe,
        stdout=pipe,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )


def test_what_one_process_has_no_other_gets_until_it_ends_or_is_killed(tmp_path: Path):
    path = tmp_path / "stores" / "own"
    with holder(path) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=r"Another mmbal process is writing .*own"), locked(path):
            pass
        with locked(path.with_name("other")):
            pass
        first.send_signal(signal.SIGKILL)
    assert os.listdir(path.parent) == [".own.lock"]
    # What a killed process leaves stands in nobody's way; another name of a folder is the same folder.
    with locked(path), pytest.raises(UsageError), locked(path.parent / ".." / "stores" / "own"):
        pass
    assert os.listdir(path.parent) == []


def test_a_lock_waited_for_is_had_though_its_file_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "own"
    opened, held, go = (threading.Event() for _ in range(3))
    flock = fcntl.flock

    def telling(stream: BinaryIO, how: int) -> None:
        opened.set()
        flock(stream, how)

    def wait_for_it() -> None:
        with locked(path, wait=True):
            held.set()
            go.wait(60)

    second = threading.Thread(target=wait_for_it)
    with locked(path):
        monkeypatch.setattr(fcntl, "flock", telling)
        second.start()
        assert opened.wait(60)  # the file that goes when this block ends
    assert held.wait(60)
    assert os.listdir(tmp_path) == [".own.lock"]
    with pytest.raises(UsageError), locked(path):
        pass
    go.set()
    second.join()
    assert os.listdir(tmp_path) == []


def test_where_nothing_can_be_locked_the_work_is_done_all_the_same(tmp_path: Path):
    """That no error is raised is the point; the block must run, too."""
    (tmp_path / "file").write_text("no folder")
    work = []
    with locked(tmp_path / "file" / "own"):
        work.append("done")
    assert work == ["done"]


def test_what_exists_is_refused_in_one_wording(tmp_path: Path):
    there, free = tmp_path / "a", tmp_path / "b"
    there.write_text("x")
    for path, force in ((free, False), (there, True), (None, False)):
        refuse_existing(path, force)
    with pytest.raises(UsageError, match=r"a exists already\.$") as caught:
        refuse_existing(there, False)
    assert caught.value.hint == "Choose another --out, or give --force to replace it."
    with pytest.raises(UsageError, match=r"a exists already and was made from something else\.$") as caught:
        refuse_existing(there, None, "and was made from something else")
    assert caught.value.hint == "Choose another --out, or remove it."
