"""Memory, objects and handles stay as they are, however long a training goes on and however many models are diagnosed."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_store
from counting import count
from worlds import gaussian

from mmbal.diagnosis import diagnose
from mmbal.engine.config import TrainConfig
from mmbal.engine.train import train

MEGABYTES = 8  # that may be gained in all: the allocator's own, some of which comes late
OBJECTS = 60  # that may be gained a step: a training keeps the figures of each epoch
LONG = pytest.param(200, marks=pytest.mark.long)


class Gain:
    """What this process has gained since a fourth of ``steps`` were done, when caches are filled."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done, self.before = steps, 0, (0, 0, 0, 0, 0)

    def step(self, *_: Any) -> None:
        self.done += 1
        if self.done == self.steps // 4:
            self.before = held()

    def require_none(self) -> None:
        assert self.done >= self.steps
        resident, used, objects, handles, threads = (b - a for a, b in zip(self.before, held(), strict=True))
        assert max(resident, used) < MEGABYTES << 20
        assert objects < OBJECTS * (self.done - self.steps // 4)
        assert max(handles, threads) <= 0


class Allocated(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def used_of_allocated() -> int:
    """Bytes that the program holds of what the allocator has; 0 where the allocator does not tell.

    A process that keeps freed memory (mmbal/engine/memory.py) can leak for long before more of it is resident.
    """
    tell = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if tell is None:
        return 0
    tell.restype = Allocated
    found = tell()
    return int(found.uordblks + found.hblkhd)


def held() -> tuple[int, int, int, int, int]:
    """Bytes resident of this process alone, bytes in use, objects with references, file handles, and threads."""
    gc.collect()
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    handles = len(os.listdir("/proc/self/fd"))
    alone = (resident - shared) * resource.getpagesize()
    return alone, used_of_allocated(), len(gc.get_objects()), handles, threading.active_count()


@pytest.mark.parametrize("epochs", [16, LONG])
def test_a_training_holds_no_more_after_many_epochs(epochs, tmp_path):
    """The inputs of an epoch are 2 MB: were they kept, 12 epochs would gain 24 MB."""
    store = write_store(tmp_path / "store", {"audio": 512, "video": 512}, rows=1000)
    gain = Gain(epochs)
    given = TrainConfig(data=str(store.path), epochs=epochs, batch_size=64, device="cpu")
    train(given, out=tmp_path / "run", report=gain.step)
    gain.require_none()
    count("epochs of flat memory", epochs)


@pytest.mark.parametrize("models", [8, LONG])
def test_diagnoses_hold_no_more_after_many_models(models):
    gain = Gain(models)
    for seed in range(models):
        diagnose(gaussian(100, 3, 2, seed=seed), bootstrap=100)
        gain.step()
    gain.require_none()
    count("diagnoses of flat memory", models)


@pytest.mark.parametrize("kept", ["memory", "objects", "a handle", "a thread"])
def test_a_leak_is_seen(kept, tmp_path):
    stop, held_on = threading.Event(), []
    leak: dict[str, Callable[[], Any]] = {
        "memory": lambda: np.ones((1 << 20) // 8),
        "objects": lambda: [[] for _ in range(100)],
        "a handle": lambda: open(tmp_path / "f", "w"),  # noqa: SIM115
        "a thread": lambda: threading.Thread(target=stop.wait, daemon=True).start(),
    }
    gain = Gain(16)
    for _ in range(16):
        held_on.append(leak[kept]())
        gain.step()
    with pytest.raises(AssertionError):
        gain.require_none()
    stop.set()
    if kept == "a handle":
        for handle in held_on:
            handle.close()
