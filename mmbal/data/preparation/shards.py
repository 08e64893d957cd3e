"""Rows encoded by the tasks of a pool, on other machines too: shards of the manifest go there, their arrays come back.

Only this process writes the store. A task encodes its shard as a local preparation does, with a worker process of its own,
so a file that crashes the decoder costs its row here too, and the store is the same byte for byte.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.cluster import Pool
from mmbal.data.media.recipe import Recipe
from mmbal.data.preparation.manifest import Row
from mmbal.data.preparation.workers import encode_rows
from mmbal.errors import DataError

ROWS = 64  # of a shard, at most: what a lost task has to do again
BYTES = 1 << 26  # of a shard's arrays, at most

Task = tuple[int, Row]


@dataclass(frozen=True)
class Shard:
    """Rows of the manifest with their numbers, and those of their files that the first machine has."""

    tasks: Sequence[Task]
    files: Sequence[str]


def empty_arrays(folder: Path, recipes: Mapping[str, Recipe], n: int) -> None:
    """Arrays of zeros for ``n`` rows of each modality in ``folder``, sparse where the file system can."""
    for m, recipe in recipes.items():
        np.lib.format.open_memmap(folder / f"{m}.npy", "w+", np.dtype(recipe.dtype), (n, *recipe.stored_shape))


def encode_shards(
    folder: Path, recipes: Mapping[str, Recipe], todo: Sequence[Task], pool: Pool
) -> Iterator[dict[str, Any]]:
    """Encode rows in ``pool``, write their arrays into those of ``folder``, and yield each row's answer then.

    Raises DataError where a machine does not see a file that this one sees.
    """
    arrays = {m: np.lib.format.open_memmap(folder / f"{m}.npy", "r+") for m in recipes}
    # A generator, since the pool then has few shards in flight: their arrays wait in memory.
    for answers, parts in pool.map(partial(encode_shard, recipes=dict(recipes)), _shards(recipes, todo)):
        numbers = [answer["row"] for answer in answers]
        for m, part in parts.items():
            arrays[m][numbers] = part
            arrays[m].flush()
        yield from answers


def _shards(recipes: Mapping[str, Recipe], todo: Sequence[Task]) -> Iterator[Shard]:
    a_row = sum(np.dtype(r.dtype).itemsize * int(np.prod(r.stored_shape)) for r in recipes.values())
    size = max(1, min(ROWS, BYTES // max(1, a_row)))
    for start in range(0, len(todo), size):
        tasks = todo[start : start + size]
        files = dict.fromkeys(source.path for _, row in tasks for source in row.sources.values())
        yield Shard(tasks, [path for path in files if os.path.exists(path)])


def encode_shard(shard: Shard, recipes: Mapping[str, Recipe]) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """The answers of a shard's rows, in their order, and the arrays of each modality ``(n, ...)``; a lost one is zeros.

    Raises DataError where a file is not seen here.
    """
    for path in shard.files:
        if not os.path.exists(path):
            raise DataError(
                f"The machine {socket.gethostname()} does not see {path}.", "Put the files where all machines see them."
            )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty_arrays(folder, recipes, len(shard.tasks))
        rows = [(k, row) for k, (_, row) in enumerate(shard.tasks)]
        answers = sorted(encode_rows(folder, recipes, rows, 1), key=lambda answer: answer["row"])
        arrays = {m: np.load(folder / f"{m}.npy") for m in recipes}
    return [answer | {"row": shard.tasks[answer["row"]][0]} for answer in answers], arrays
