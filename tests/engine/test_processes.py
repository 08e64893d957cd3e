"""Training by two processes: stopped and gone on with by one, the other way round, and what is said when one is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from worlds import config_for

from mmbal.config import write_yaml
from mmbal.data.store.store import Store
from mmbal.engine.pretrain import pretrain
from mmbal.engine.saving import Saving
from mmbal.engine.train import resume, train
from mmbal.errors import Interrupted
from mmbal.predictions.format import Predictions
from mmbal.runs import read_metrics, read_summary

ROOT = Path(__file__).parents[2]
# `mmbal`, of which the second process dies once, in the second epoch
DYING = """
import os, runpy, signal
from mmbal.engine.session import Session
from mmbal.torchrun import is_restarted

after_batch = Session.after_batch

def dying(self, samples, state):
    after_batch(self, samples, state)
    if os.environ["RANK"] == "1" and self.run.epoch == 1 and not is_restarted():
        os.kill(os.getpid(), signal.SIGKILL)

Session.after_batch = dying
runpy.run_module("mmbal", run_name="__main__")
"""


def start(*arguments: object) -> list[subprocess.Popen[str]]:
    """`mmbal ARGUMENTS` in two processes that share their batches."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "mmbal", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [subprocess.Popen(command, env=shared | {"RANK": str(rank)}, **pipes) for rank in range(2)]  # type: ignore[call-overload]


def ended(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes, and what each wrote on standard error."""
    errors = [p.communicate(timeout=500)[1] for p in processes]
    return [p.returncode for p in processes], errors


@pytest.mark.long
def test_another_number_of_processes_goes_on_to_the_same_epoch(toy: Callable[..., Store], tmp_path: Path):
    """dyncim adds up figures of its own samples within an epoch; the stop is after the first batch of an epoch."""
    store = toy({"audio": 6, "text": 5, "video": 4}, rows=96, missing=0.3)
    config = config_for("dyncim", store, epochs=3)
    train(config, out=tmp_path / "whole")
    write_yaml(tmp_path / "config.yaml", config)
    codes, errors = ended(
        start("train", "--config", tmp_path / "config.yaml", "--out", tmp_path / "two", "--max-hours", 0)
    )
    assert codes == [130, 130], errors
    assert "".join(errors).count("in epoch 1 of 3, after batch 1;") == 1  # whichever process ends first tells it
    resume(tmp_path / "two")  # in this process alone
    with pytest.raises(Interrupted, match="after batch 1;"):
        train(config, out=tmp_path / "one", saving=Saving(deadline=0))
    codes, errors = ended(start("train", "--resume", tmp_path / "one"))
    assert codes == [0, 0], errors
    expected = read_metrics(tmp_path / "whole")
    for name in ("one", "two"):
        for epoch, found in zip(expected, read_metrics(tmp_path / name), strict=True):
            for key in ("train", "val", "alone"):
                assert found[key] == pytest.approx(epoch[key], rel=1e-4, abs=1e-6), (name, key)
        a, b = (Predictions.load(tmp_path / run / "predictions" / "test.npz") for run in ("whole", name))
        assert np.abs(a.fused - b.fused).max() < 1e-4
        assert read_summary(tmp_path / name)["epochs"] == 3


@pytest.mark.long
def test_a_lost_process_ends_the_job_in_a_sentence(toy: Callable[..., Store], tmp_path: Path):
    store = toy({"audio": 6, "video": 4}, rows=96)
    run = tmp_path / "run"
    processes = start("train", "--data", store.path, "--epochs", 100000, "--device", "cpu", "--out", run)
    while len(read_metrics(run)) < 2:
        assert processes[0].poll() is None, processes[0].communicate()
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGKILL)
    codes, errors = ended(processes)
    assert codes == [130, -signal.SIGKILL]
    said = [line for line in errors[0].splitlines() if line.startswith("Stopped: ")]
    assert len(said) == 1
    assert said[0].startswith("Stopped: One of the processes of this training has ended, so the others can't go on;")
    assert f"mmbal train --resume {run}" in errors[0]
    assert "Traceback" not in errors[0]


@pytest.mark.long
def test_torchrun_starts_again_after_a_loss_and_ends_with_the_same_model(toy: Callable[..., Store], tmp_path: Path):
    config = config_for("joint", toy({"audio": 6, "video": 4}, rows=96), epochs=3)
    train(config, out=tmp_path / "whole")
    write_yaml(tmp_path / "config.yaml", config)
    (tmp_path / "dying.py").write_text(DYING)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--max-restarts",
        "1",
    ]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    given = ["train", "--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "again"), "--save-every", "0"]
    done = subprocess.run(
        [*launch, str(tmp_path / "dying.py"), *given], env=os.environ | own, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr or "SIGKILL" in done.stderr or "Signal 9" in done.stderr  # it was lost once
    a, b = (Predictions.load(tmp_path / run / "predictions" / "test.npz") for run in ("whole", "again"))
    assert np.abs(a.fused - b.fused).max() < 1e-4
    assert [e["epoch"] for e in read_metrics(tmp_path / "again")] == [1, 2, 3]


@pytest.mark.long
def test_pretraining_by_two_processes_is_that_by_one(toy: Callable[..., Store], tmp_path: Path):
    config = config_for("joint", toy({"audio": 6, "video": 4}, rows=96), epochs=2)
    pretrain(config, out=tmp_path / "one")
    write_yaml(tmp_path / "config.yaml", config)
    codes, errors = ended(start("pretrain", "--config", tmp_path / "config.yaml", "--out", tmp_path / "two"))
    assert codes == [0, 0], errors
    a, b = (Predictions.load(tmp_path / run / "predictions" / "test.npz") for run in ("one", "two"))
    for m in ("audio", "video"):
        assert np.abs(a.logits[m] - b.logits[m]).max() < 1e-4
