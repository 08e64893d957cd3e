"""Kills a child of this process with SIGKILL at a random point of its work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch


def child(work: Callable[[], Any]) -> int:
    """Start ``work`` in a fork of this process; its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def whole(work: Callable[[], Any]) -> float:
    """Let ``work`` end in a child; the seconds that it took."""
    began = time.monotonic()
    _, status = os.waitpid(child(work), 0)
    assert status == 0
    return time.monotonic() - began


def killed(work: Callable[[], Any], after: float) -> bool:
    """Start ``work`` and kill it after so many seconds; whether it was still at work."""
    pid = child(work)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def moments(seconds: float, times: int, seed: int) -> Iterator[float]:
    """Random moments of a work that takes so long, the same for every run of a seed."""
    yield from np.random.default_rng(seed).uniform(0.02 * seconds, 0.95 * seconds, times).tolist()


def same_files(found: Path, expected: Path, left_out: tuple[str, ...] = ()) -> None:
    """Both folders hold the same files with the same contents: bytes, or the tensors and arrays in them."""
    names = {str(f.relative_to(expected)) for f in expected.rglob("*") if f.is_file() and not f.name.startswith(".")}
    others = {str(f.relative_to(found)) for f in found.rglob("*") if f.is_file() and not f.name.startswith(".")}
    assert others == names
    for name in sorted(names):
        if name.endswith(left_out):
            continue
        a, b = found / name, expected / name
        if name.endswith(".pt"):
            same_tensors(torch.load(a, weights_only=True), torch.load(b, weights_only=True), name)
        elif name.endswith(".npz"):
            one, other = np.load(a), np.load(b)
            assert one.files == other.files, name
            assert all(np.array_equal(one[key], other[key]) for key in one.files if key != "meta"), name
        else:
            assert a.read_bytes() == b.read_bytes(), name


def same_tensors(a: Any, b: Any, where: str) -> None:
    """Nested values are equal, tensors bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same_tensors(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for k, (one, other) in enumerate(zip(a, b, strict=True)):
            same_tensors(one, other, f"{where}/{k}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where
