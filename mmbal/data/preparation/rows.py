"""The rows of a store in the making: its columns, and what is left out of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmbal.data.preparation.findings import Finding
from mmbal.data.store.moments import chunks
from mmbal.data.store.store import ModalitySpec
from mmbal.text import plural


@dataclass
class Rows:
    """What is known of N encoded rows: the columns of the store, and per modality a digest of each row's content.

    ``number`` are the rows' numbers in the source; a digest is '' where there is none to compare.
    """

    number: np.ndarray

    labels: np.ndarray
    split: np.ndarray
    ids: np.ndarray
    group: np.ndarray | None
    present: dict[str, np.ndarray]
    digest: dict[str, np.ndarray] = field(default_factory=dict)
    segments: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(
            self.number[rows],
            self.labels[rows],
            self.split[rows],
            self.ids[rows],
            None if self.group is None else self.group[rows],
            {m: mask[rows] for m, mask in self.present.items()},
            {m: digest[rows] for m, digest in self.digest.items()},
            {name: values[rows] for name, values in self.segments.items()},
        )


def drop(
    folder: Path, rows: Rows, specs: Mapping[str, ModalitySpec], *, complete_only: bool
) -> tuple[Rows, list[Finding]]:
    """Leave out the rows that have no modality (or not all); the arrays are copied only where a row goes."""
    mask = np.stack(list(rows.present.values()))
    keep = np.flatnonzero(mask.all(axis=0) if complete_only else mask.any(axis=0))
    if len(keep) == len(rows.labels):
        return rows, []
    gone = len(rows.labels) - len(keep)
    for m in specs if len(keep) else ():
        path, temporary = folder / f"{m}.npy", folder / f".{m}.tmp"
        array = np.load(path, mmap_mode="r")
        shape, descr = array.shape, np.lib.format.dtype_to_descr(array.dtype)
        del array
        if len(keep) == shape[0]:
            continue  # done before an interruption
        with temporary.open("wb") as stream:
            header = {"descr": descr, "fortran_order": False, "shape": (len(keep), *shape[1:])}
            np.lib.format.write_array_header_1_0(stream, header)
            for part in chunks(path, keep):
                stream.write(part.tobytes())
        os.replace(temporary, path)
    lacking = "without one of the modalities" if complete_only else "without any usable modality"
    return rows.take(keep), [Finding("note", "left out", "rows", f"{plural(gone, 'sample')} {lacking}")]


def without_empty(labels: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and classes without the classes that have no row any more."""
    kept, index = np.unique(labels, return_inverse=True)
    return index.astype(np.int64), tuple(classes[i] for i in kept)
