"""Mean and standard deviation of arrays on disk, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from mmbal.data.store.store import Kind

CHUNK_BYTES = 1 << 20
PICTURES = 4096  # train rows, evenly taken, whose pixels are looked at
PIXELS = 32  # a side; of larger pictures as many are looked at, in even steps


def chunks(path: Path, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an ``.npy`` file, some megabytes at a time; the map is opened anew each time, since pages once read
    through a map stay in this process's memory for as long as it is open.
    """
    array = np.load(path, mmap_mode="r")
    step = max(1, CHUNK_BYTES // max(1, array[:1].nbytes))
    del array
    for start in range(0, len(rows), step):
        yield np.load(path, mmap_mode="r")[rows[start : start + step]]


def moments(parts: Iterable[np.ndarray], kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation: per channel of pictures, per dimension of features, one for a spectrogram.

    ``parts`` are ``(n, ...)`` arrays of finite samples. In double precision, combined part by part; where nothing varies
    the deviation is 1.
    """
    running = StandardScaler()
    for part in parts:
        running.partial_fit(_observations(part, kind))
    std = np.sqrt(running.var_)
    return running.mean_, np.where(std > 1e-8, std, 1.0)


def train_moments(path: Path, rows: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    """:func:`moments` of the rows of a store's array; of very many pictures, of ``PICTURES`` of them."""
    if kind in ("image", "frames") and len(rows) > PICTURES:
        rows = rows[np.linspace(0, len(rows) - 1, PICTURES).astype(int)]
    return moments(chunks(path, rows), kind)


def _observations(values: np.ndarray, kind: Kind) -> np.ndarray:
    """Observations in rows, one column per value of the statistics, in double precision."""
    if kind == "spectrogram":
        return values.reshape(-1, 1).astype(np.float64)
    if kind in ("image", "frames"):
        step = max(1, values.shape[-1] // PIXELS)
        seen = np.moveaxis(values[..., ::step, ::step], -3, -1)
        return seen.reshape(-1, seen.shape[-1]).astype(np.float64)
    return values.reshape(-1, values.shape[-1]).astype(np.float64)
