"""Samples that are arrays already, and how they are written into a store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.rows import Rows
from mmbal.data.preparation.worker import DIGEST
from mmbal.data.store.store import Kind, ModalitySpec

COMPARED = ("spectrogram", "frames", "image")  # kinds of which two samples are alike only where one is a copy


@dataclass
class Arrays:
    """Samples that are arrays already, N rows each; ``split``, ``group`` and ``classes`` are None where unknown."""

    name: str
    arrays: dict[str, np.ndarray]
    kinds: dict[str, Kind]
    labels: np.ndarray
    ids: np.ndarray
    classes: tuple[str, ...]
    split: np.ndarray | None = None
    group: np.ndarray | None = None
    present: dict[str, np.ndarray] = field(default_factory=dict)
    augment: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    known_leak: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


def write_arrays(source: Arrays, folder: Path) -> tuple[dict[str, ModalitySpec], Rows, list[Finding]]:
    """Write the arrays into ``folder``; their specs, the rows, and a finding for each row that is no number."""
    n = len(source.labels)
    specs: dict[str, ModalitySpec] = {}
    present: dict[str, np.ndarray] = {}
    digest: dict[str, np.ndarray] = {}
    findings: list[Finding] = []
    for m, array in source.arrays.items():
        kind = source.kinds[m]
        present[m] = np.asarray(source.present.get(m, np.ones(n, dtype=bool)), dtype=bool).copy()
        stored, shape = _as_stored(array, kind)
        if stored.dtype.kind == "f":
            finite = np.isfinite(stored.reshape(n, -1)).all(axis=1)
            for row in np.flatnonzero(~finite & present[m]):
                findings.append(Finding("error", "corrupt", str(source.ids[row]), "NaN or infinite values", m))
            present[m] &= finite
            stored[~present[m]] = 0
        if kind in COMPARED:
            digest[m] = np.array([_digest(row) if there else "" for row, there in zip(stored, present[m], strict=True)])
        np.save(folder / f"{m}.npy", stored)
        preprocessing: dict[str, Any] = {"recipe": None, "augment": source.augment.get(m, {})}
        if kind == "text":
            preprocessing["vocabulary"] = int(stored.max()) + 1
        specs[m] = ModalitySpec(kind=kind, shape=shape, preprocessing=preprocessing)
    split = np.full(n, "", dtype="<U8") if source.split is None else source.split.astype("<U8")
    rows = Rows(np.arange(n), source.labels.astype(np.int64), split, source.ids, source.group, present, digest)
    return specs, rows, findings


def _digest(row: np.ndarray) -> str:
    """A hash of a sample's content by which copies are found; '' where all its values are equal."""
    return "" if row.min() == row.max() else hashlib.sha256(row.tobytes()).hexdigest()[:DIGEST]


def _as_stored(array: np.ndarray, kind: Kind) -> tuple[np.ndarray, tuple[int, ...]]:
    """The array as it is stored, and one sample's shape for an encoder; grey pictures get their channel."""
    if kind == "text":
        return array.astype(np.int32), array.shape[1:]
    if kind == "spectrogram":
        # Beyond half precision's range the array stays as it is in single precision.
        fits = array.size == 0 or np.nanmax(np.abs(array)) < np.finfo(np.float16).max
        stored = array.reshape(len(array), *array.shape[-2:]).astype(np.float16 if fits else np.float32)
        return stored, (1, *stored.shape[1:])
    if kind == "image" and array.ndim == 3:
        array = array[:, None]
    if kind == "frames" and array.ndim == 4:
        array = array[:, :, None]
    with np.errstate(over="ignore"):  # what single precision can't hold becomes infinite, which is a finding
        stored = array.copy() if array.dtype == np.uint8 and kind in ("image", "frames") else array.astype(np.float32)
    return stored, stored.shape[1:]
