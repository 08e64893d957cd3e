"""The raw pictures of a store in the making as JPEG or WebP files, with the same bytes for any number of threads."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.preparation.findings import Progress
from mmbal.data.preparation.workers import cores
from mmbal.data.store.compressed import MODES, Codec, encoded
from mmbal.data.store.moments import chunks
from mmbal.data.store.store import ModalitySpec
from mmbal.errors import UsageError


def compress(
    folder: Path, specs: Mapping[str, ModalitySpec], codec: Codec, quality: int, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Write the pictures of each modality that has some beside its array; codec, quality and shape by modality.

    Raises UsageError where there are no pictures in bytes.
    """
    found: dict[str, dict[str, Any]] = {}
    for m, spec in specs.items():
        path = folder / f"{m}.npy"
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, pictures = array.shape, spec.kind in ("image", "frames") and array.dtype == np.uint8
        del array
        if pictures and shape[-3] in MODES:
            _write(folder, m, shape, partial(encoded, codec=codec, quality=quality), progress)
            found[m] = {"codec": codec, "quality": quality, "shape": list(shape)}
    if not found:
        raise UsageError(f"There are no pictures that {codec} can keep.", "Leave --codec out.")
    return found


def _write(folder: Path, m: str, shape: tuple[int, ...], encode: Any, progress: Progress | None) -> None:
    offsets = [0]
    if progress:
        progress(0, shape[0], "pictures")
    with (folder / f"{m}.bin").open("wb") as file, ThreadPoolExecutor(cores()) as pool:
        for part in chunks(folder / f"{m}.npy", np.arange(shape[0])):
            for data in pool.map(encode, part.reshape(-1, *shape[-3:])):
                file.write(data)
                offsets.append(offsets[-1] + len(data))
            if progress:
                progress(len(part), shape[0], "pictures")
    np.save(folder / f"{m}.offsets.npy", np.array(offsets, dtype=np.int64))
