"""Answers of a model on disk, found again by the content of the batch: an explanation that was stopped goes on.

A folder of the cache belongs to one model. It is recognised by its answers to the first batch, which are asked for anew
each time: a model that has been trained further gets a folder of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mmbal.explain.columns import Column, content
from mmbal.files import atomic
from mmbal.predictions.columns import Array

PROBE = "probe"
TOLERANCE = 1e-4


def key_of(batch: Mapping[str, Column], present: Iterable[str] = ()) -> str:
    """A hash of everything that a model gets: a batch, and the names of the modalities that it is told to use."""
    digest = hashlib.sha256("\0".join(present).encode())
    for name in sorted(batch):
        digest.update(f"\0{name}\0".encode())
        for part in content(batch[name]):
            digest.update(part)
    return digest.hexdigest()


class Cache:
    """The answers of one model in ``folder``; ``key`` and ``answer`` are of the first batch."""

    def __init__(self, folder: str | Path, key: str, answer: Array) -> None:
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        for number in range(len(list(root.iterdir())) + 1):
            self.folder = root / f"model-{number}"
            known = self.read(f"{PROBE}-{key}")
            if known is not None and known.shape == answer.shape and np.allclose(known, answer, TOLERANCE, TOLERANCE):
                return
            if not self.folder.exists():
                break
        self.write(f"{PROBE}-{key}", answer)

    def read(self, key: str) -> Array | None:
        """The answer to a batch; None where it is not known."""
        path = self.folder / f"{key}.npy"
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def write(self, key: str, answer: Array) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic(self.folder / f"{key}.npy") as temporary, temporary.open("wb") as stream:
            np.save(stream, answer, allow_pickle=False)
