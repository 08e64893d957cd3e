"""Media into arrays: the rows of a manifest encoded one by one, with a journal by which an interrupted run goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.cluster import Pool
from mmbal.data.preparation.arrays import COMPARED
from mmbal.data.preparation.checks import collapsed, row_findings
from mmbal.data.preparation.findings import Finding, Progress
from mmbal.data.preparation.manifest import Manifest, Row, told_apart
from mmbal.data.preparation.rows import Rows
from mmbal.data.preparation.shards import empty_arrays, encode_shards
from mmbal.data.preparation.worker import Encoder
from mmbal.data.preparation.workers import encode_rows
from mmbal.data.store.store import ModalitySpec
from mmbal.files import write_json


def encode(
    manifest: Manifest, folder: Path, plan: str, workers: int | Pool, progress: Progress | None
) -> tuple[dict[str, ModalitySpec], Rows, list[Finding], int]:
    """Encode into ``folder`` what its journal does not have yet.

    Returns the specs of the modalities, the rows, what was noticed, and how many rows the journal had. ``plan`` is the
    fingerprint of what is encoded, written beside the arrays.
    """
    n, recipes = len(manifest.rows), manifest.recipes
    if not (folder / "plan.json").exists():
        empty_arrays(folder, recipes, n)
        write_json(folder / "plan.json", {"fingerprint": plan})
    group = np.array([row.group for row in manifest.rows])
    known = classes_of(manifest)
    number = {name: index for index, name in enumerate(known)}
    rows = Rows(
        number=np.arange(n),
        labels=np.array([number[row.label] for row in manifest.rows], dtype=np.int64),
        split=np.array([row.split for row in manifest.rows], dtype="<U8"),
        ids=np.array(told_apart(row.id for row in manifest.rows)),
        group=group if (group != "").any() else None,
        present={m: np.zeros(n, dtype=bool) for m in recipes},
        segments={
            name: np.array([row.segments.get(name, "") for row in manifest.rows])
            for name in dict.fromkeys(name for row in manifest.rows for name in row.segments)
        },
        digest={m: np.zeros(n, dtype="<U16") for m in recipes},
    )
    noticed: dict[int, list[Finding]] = {}

    def take(answer: Mapping[str, Any]) -> None:
        index = answer["row"]
        for m, got in answer["modalities"].items():
            rows.present[m][index] = "lost" not in got
        found, comparable = row_findings(manifest.rows[index], answer["modalities"])
        for m in comparable:
            if recipes[m].kind in COMPARED:
                rows.digest[m][index] = answer["modalities"][m]["digest"]
        if found:
            noticed[index] = found

    done = np.zeros(n, dtype=bool)
    for answer in _journal(folder / "journal.jsonl"):
        done[answer["row"]] = True
        take(answer)
    resumed = int(done.sum())
    if progress:
        progress(resumed, n, "rows")
    todo = [(int(i), manifest.rows[i]) for i in np.flatnonzero(~done)]
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        for answer in _answers(folder, manifest, todo, workers):
            journal.write(json.dumps(answer) + "\n")
            journal.flush()
            take(answer)
            if progress:
                progress(1, n, "rows")
    specs = {m: recipe.spec({}) for m, recipe in recipes.items()}
    return specs, rows, collapsed([f for index in sorted(noticed) for f in noticed[index]]), resumed


def _answers(
    folder: Path, manifest: Manifest, todo: list[tuple[int, Row]], workers: int | Pool
) -> Iterator[dict[str, Any]]:
    if not todo:
        return
    if not isinstance(workers, int):
        yield from encode_shards(folder, manifest.recipes, todo, workers)
        return
    if workers > 0:
        yield from encode_rows(folder, manifest.recipes, todo, min(workers, len(todo)))
        return
    encoder = Encoder(folder, manifest.recipes)
    try:
        for index, row in todo:
            # Through JSON, so that it does not matter which process encoded a row.
            yield json.loads(json.dumps(encoder.encode(index, row.sources)))
    finally:
        encoder.close()


def _journal(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of the journal; a line torn by a kill is cut off, so that appending goes on cleanly."""
    if not path.exists():
        return
    whole_bytes = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            whole_bytes += len(line)
            yield json.loads(line)
    os.truncate(path, whole_bytes)


def classes_of(manifest: Manifest) -> tuple[str, ...]:
    """Class names in order: as the manifest fixes it, as numbers where all are, else by name."""
    if manifest.classes:
        return manifest.classes
    labels = {row.label for row in manifest.rows}
    if all(re.fullmatch(r"-?\d+(\.\d*)?", label) for label in labels):
        return tuple(sorted(labels, key=lambda label: (float(label), label)))
    return tuple(sorted(labels))
