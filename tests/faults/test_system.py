"""A full disk, a read-only folder, no handles left, signals, a second process: one sentence, the earlier state intact."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import child
from terminal import mmbal as command

import mmbal
from mmbal.cli.app import main
from mmbal.data.preparation.download import download
from mmbal.data.store.store import Store
from mmbal.engine.config import TrainConfig
from mmbal.engine.train import resume, train
from mmbal.errors import DataError, UsageError, of_system
from mmbal.files import locked

pytestmark = pytest.mark.counted("faults")
DIMS = {"audio": 6, "video": 4}


def ends(work: Callable[[], int]) -> int:
    """The exit status of ``work`` in a child, which may change the limits of its process."""

    def run() -> None:
        os._exit(work())

    _, status = os.waitpid(child(run), 0)
    return os.waitstatus_to_exitcode(status)


def options(store: Store, out: Path, epochs: int = 2) -> list[str]:
    given = {"--data": store.path, "--epochs": epochs, "--batch-size": 16, "--device": "cpu", "--out": out}
    return ["train", *(str(part) for pair in given.items() for part in pair)]


def config(store: Store, **changes: Any) -> TrainConfig:
    return TrainConfig(**{"data": str(store.path), "epochs": 2, "batch_size": 16, "device": "cpu", **changes})


def test_a_disk_that_takes_no_more_bytes_costs_nothing_that_was_there(toy, tmp_path):
    """The limit of a file's size stands for a full disk; Python turns its signal into an error."""
    store = toy(DIMS)
    train(config(store), out=tmp_path / "run")
    before = {f.name: f.read_bytes() for f in (tmp_path / "run").iterdir() if f.is_file()}

    def starved() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        result = command("train", "--resume", tmp_path / "run", "--epochs", 4)
        text = result.stderr if result.exit_code == 4 else ""
        return 0 if "Error: " in text and "Internal error" not in text and "Traceback" not in text else 1

    assert ends(starved) == 0
    after = {f.name: f.read_bytes() for f in (tmp_path / "run").iterdir() if f.is_file()}
    assert after["last.pt"] == before["last.pt"]
    assert after["checkpoint.pt"] == before["checkpoint.pt"]
    assert not [name for name in after if name.endswith(".tmp")]
    resume(tmp_path / "run", epochs=4)


def test_no_file_handles_left_is_no_finding_about_files(tmp_path):
    sounds = sorted((Path(__file__).parents[1] / "data" / "fsdd").glob("*.wav"))[:6]
    (tmp_path / "m.csv").write_text("path,label\n" + "".join(f"{file},{file.name[0]}\n" for file in sounds))
    mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "warm", workers=0, duration=0.5)

    def starved() -> int:
        held = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (held + 6, held + 6))
        try:
            found = mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "store", workers=0, duration=0.5)
        except (DataError, OSError):
            return 0
        return 0 if not [f for f in found.findings if f.level == "error"] else 1

    assert ends(starved) == 0
    found = mmbal.prepare(tmp_path / "m.csv", out=tmp_path / "store", workers=0, duration=0.5)
    assert len(found.store) == 6


def test_the_words_for_failures_of_the_system():
    assert "Free some space" in of_system(OSError(28, "No space left on device", "/x/last.pt")).hint
    assert (
        of_system(OSError(28, "No space left on device", "/x/last.pt")).message
        == "/x/last.pt: No space left on device."
    )
    assert "ulimit -n" in of_system(OSError(24, "Too many open files")).hint
    assert "--out" in of_system(OSError(30, "Read-only file system", "/x")).hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(toy, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    result = command(*options(toy(DIMS), tmp_path / "closed" / "run"))
    assert result.exit_code == 4
    assert "closed" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(toy, tmp_path, number, monkeypatch):
    store, out, told = toy(DIMS), tmp_path / "run", tmp_path / "told.txt"
    monkeypatch.setattr("sys.argv", ["mmbal", *options(store, out, epochs=400)])

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(told, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, 1)
        os.dup2(file, 2)
        import sys

        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        try:
            main()
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(int(end.code or 0))

    pid = child(work)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out / "last.pt").is_file():
        time.sleep(0.01)
    os.kill(pid, number)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert "mmbal train --resume" in " ".join(told.read_text().split())
    done = len((out / "metrics.jsonl").read_text().splitlines())
    assert 0 < done < 400


def test_two_processes_on_one_target(toy, tmp_path):
    """The second is refused, and changes nothing."""
    store, target = toy(DIMS), tmp_path / "p.npz"
    (tmp_path / "s.csv").write_text("label,m:x,m:y\n" + "x,1,0\ny,0,1\n" * 6)
    for arguments, out in (
        (("import", tmp_path / "s.csv", "--out", target), target),
        (("prepare", "--balance-discrepancy", store.path, "--out", tmp_path / "view"), tmp_path / "view"),
        (options(store, tmp_path / "run"), tmp_path / "run"),
    ):
        with locked(out):
            result = command(*arguments)
        assert result.exit_code == 2, result.output
        assert "Another mmbal process" in result.stderr
        assert not out.exists()
    np.savez(tmp_path / "c.npz", labels=np.arange(60) % 2, logits_a=np.eye(2)[np.arange(60) % 2])
    with locked(tmp_path / "r.json"):
        result = command("calibrate", tmp_path / "c.npz", "--split", "test", "--force", "--out", tmp_path / "r.json")
    assert result.exit_code == 2, result.output
    assert "Another mmbal process" in result.stderr
    with locked(tmp_path / "media"), pytest.raises(UsageError, match="Another mmbal process"):
        download([], tmp_path / "media", "http://127.0.0.1:9/")


def test_a_clock_that_jumps_back(toy, tmp_path, monkeypatch):
    times = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(times)))
    found = train(config(toy(DIMS)), out=tmp_path / "run")
    assert found.summary["epochs"] == 2
    assert np.isfinite(found.summary["val"]["nll"])
