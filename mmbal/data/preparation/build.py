"""From samples to a store: encode what is not yet encoded, look at the whole, seal it; atomic and resumable.

All work happens in ``.NAME.partial`` beside the store: the arrays, and a journal with one line per encoded row. A row is
journalled after its arrays are written, so after a kill the same command goes on where the journal ends, and the sealed
store is the same byte for byte, whatever the number of workers. The folder is renamed when all is done. Two processes
never work on one store: the second is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.preparation.checks import leaks, row_findings, whole
from mmbal.data.preparation.findings import Finding, Progress
from mmbal.data.preparation.manifest import Manifest
from mmbal.data.preparation.options import Options
from mmbal.data.preparation.worker import DIGEST, Encoder
from mmbal.data.preparation.workers import encode_rows
from mmbal.data.store.moments import chunks, train_moments
from mmbal.data.store.store import FORMAT, Kind, ModalitySpec, Store, seal
from mmbal.errors import DataError, UsageError
from mmbal.files import locked, read_json, write_json
from mmbal.predictions.splits import complete, split_hash

STORED_FINDINGS = 1000
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


@dataclass
class _Rows:
    """What is known of the encoded rows: the columns of the store, and per modality digests and seconds."""

    labels: np.ndarray
    split: np.ndarray
    ids: np.ndarray
    group: np.ndarray | None
    present: dict[str, np.ndarray]
    digest: dict[str, np.ndarray] = field(default_factory=dict)  # '' where there is none to compare

    def take(self, rows: np.ndarray) -> _Rows:
        return _Rows(
            self.labels[rows],
            self.split[rows],
            self.ids[rows],
            None if self.group is None else self.group[rows],
            {m: mask[rows] for m, mask in self.present.items()},
            {m: digest[rows] for m, digest in self.digest.items()},
        )


@dataclass(frozen=True)
class Built:
    """A sealed store, what was noticed, and how many rows an interrupted run had encoded before."""

    store: Store
    findings: list[Finding]
    resumed: int = 0
    existed: bool = False


def build(
    source: Manifest | Arrays,
    out: Path,
    options: Options,
    *,
    workers: int,
    force: bool,
    wait: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Build a store at ``out``; see the module for how. ``workers`` = 0 encodes in this process.

    Raises UsageError where ``out`` holds something else (with ``force``: no store), where another process is writing it (and
    ``wait`` is false) or a modality's name is no plain word, DataError where nothing is usable.
    """
    _check_replaceable(out)
    for m in source.recipes if isinstance(source, Manifest) else source.arrays:
        if not re.fullmatch(r"\w[\w-]*", m):  # it names a file and a module
            raise UsageError(
                f"'{m}' can't name a modality: letters, digits, _ and - can.",
                f"Rename the column, or take the array under another name: --modality NAME={m}",
            )
    fingerprint = identity(source, options)
    # Asked first, since what is only read needs no lock, and again, since another process may have written it meanwhile.
    if (out / "meta.json").is_file() and not force:
        return _existing(out, fingerprint)
    with locked(out, wait=wait):
        if (out / "meta.json").is_file() and not force:
            return _existing(out, fingerprint)
        return _build(source, out, options, fingerprint, workers, progress)


def _check_replaceable(out: Path) -> None:
    """Raise UsageError where a store at ``out`` would take the place of what is none."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise UsageError(
            f"--out {out} is the folder you are in.", "Give the store a folder of its own: --out stores/NAME."
        )
    if out.exists() and not (out / "meta.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} holds something that is not a store, so it is not replaced.", "Choose another --out.")


def _existing(out: Path, fingerprint: str) -> Built:
    """The store at ``out``; raises UsageError where it was made from something else."""
    if read_json(out / "meta.json").get("fingerprint") == fingerprint:
        store = Store.open(out)
        return Built(store, [Finding(**f) for f in store.meta["findings"]], existed=True)
    raise UsageError(
        f"{out} exists already and was made from something else.", "Choose another --out, or give --force."
    )


def _build(
    source: Manifest | Arrays, out: Path, options: Options, fingerprint: str, workers: int, progress: Progress | None
) -> Built:
    partial = out.with_name(f".{out.name}.partial")
    plan = _fingerprint(source)
    if not _continues(partial, plan):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    if isinstance(source, Manifest):
        specs, rows, findings, resumed = _encode(source, partial, plan, workers, progress)
        classes = source.classes or _ordered({row.label for row in source.rows})
    else:
        specs, rows, findings, resumed = _write_arrays(source, partial, options)
        classes = source.classes
    rows, lost = _drop(partial, rows, specs, complete_only=options.complete)
    findings = [*lost, *source.findings, *findings]
    if options.complete:
        rows.labels, classes = _without_empty(rows.labels, classes)
    if not len(rows.labels):
        shutil.rmtree(partial)
        first = next((f for f in findings if f.level == "error"), None)
        reason = f" The first: {first.where}: {first.kind}, {first.reason}." if first else ""
        raise DataError(
            f"No sample of {source.name} can be used.{reason}", "Check --root and the paths of the manifest."
        )
    if options.resplit:
        rows.split = np.full_like(rows.split, "")
    rows.split, carved = complete(
        rows.labels, rows.split, rows.group, val=options.val, test=options.test, seed=options.seed
    )
    if not (rows.split == "train").any():
        have = ", ".join(f"{s} {n}" for s, n in Counter(rows.split.tolist()).items())
        raise DataError(f"{source.name} has no training rows ({have}).", "--resplit carves new splits from all rows.")
    # What concerns the whole comes first: of very many findings a store keeps only the first.
    findings = [
        *whole(rows.labels, rows.split, rows.group, classes, source.known_leak),
        *(Finding("note", "split", source.name, text) for text in [*source.notes, *carved]),
        *findings,
        *leaks(rows.ids, rows.split, rows.digest),
    ]
    specs = {m: _normalised(partial, m, spec, (rows.split == "train") & rows.present[m]) for m, spec in specs.items()}
    seal(
        partial,
        name=source.name,
        classes=classes,
        modalities=specs,
        rows={
            "labels": rows.labels,
            "split": rows.split,
            "ids": rows.ids,
            **({} if rows.group is None else {"group": rows.group}),
            **{f"present_{m}": mask for m, mask in rows.present.items()},
        },
        meta={
            "source": source.meta,
            "split": {
                "hash": split_hash(rows.ids.tolist(), rows.split.tolist()),
                "carved": carved,
                "notes": source.notes,
            },
            "fingerprint": fingerprint,
            "finding_counts": dict(sorted(Counter(f"{f.level}: {f.kind}" for f in findings).items())),
            "findings": [f.to_dict() for f in findings[:STORED_FINDINGS]],
        },
    )
    for leftover in ("journal.jsonl", "plan.json"):
        (partial / leftover).unlink(missing_ok=True)
    _replace(partial, out)
    return Built(Store.open(out), findings, resumed)


def _replace(partial: Path, out: Path) -> None:
    old = out.with_name(f".{out.name}.old")
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(out, old)
    os.replace(partial, out)
    shutil.rmtree(old, ignore_errors=True)


def _ordered(labels: set[str]) -> tuple[str, ...]:
    """Class names in order; as numbers where all are."""
    if all(label.lstrip("-").isdigit() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))


def identity(source: Manifest | Arrays, options: Options) -> str:
    """Hash of all that decides what a store will hold: the source's content and the options."""
    return hashlib.sha256((_fingerprint(source) + options.model_dump_json()).encode()).hexdigest()


def _fingerprint(source: Manifest | Arrays) -> str:
    """Hash of all that decides what is encoded: recipes, rows, size and date of the files behind them."""
    digest = hashlib.sha256(f"{FORMAT} {source.name}".encode())
    if isinstance(source, Arrays):
        for key in sorted(source.arrays):
            digest.update(f"{key} {source.kinds[key]}".encode() + np.ascontiguousarray(source.arrays[key]).tobytes())
        for column in (source.labels, source.split, source.ids, source.group):
            digest.update(b"-" if column is None else np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()
    digest.update(
        json.dumps([source.classes, {m: r.model_dump(mode="json") for m, r in source.recipes.items()}]).encode()
    )
    for row in source.rows:
        files = [(m, *asdict(s).values(), *_stat(s.path)) for m, s in row.sources.items()]
        digest.update(json.dumps([row.id, row.label, row.split, row.group, files]).encode())
    return digest.hexdigest()


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _continues(partial: Path, plan: str) -> bool:
    try:
        return bool(json.loads((partial / "plan.json").read_text())["fingerprint"] == plan)
    except (OSError, ValueError, KeyError):
        return False


def _encode(
    manifest: Manifest, folder: Path, plan: str, workers: int, progress: Progress | None
) -> tuple[dict[str, ModalitySpec], _Rows, list[Finding], int]:
    n, recipes = len(manifest.rows), manifest.recipes
    if not (folder / "plan.json").exists():
        for m, recipe in recipes.items():
            np.lib.format.open_memmap(folder / f"{m}.npy", "w+", np.dtype(recipe.dtype), (n, *recipe.stored_shape))
        write_json(folder / "plan.json", {"fingerprint": plan})
    group = np.array([row.group for row in manifest.rows])
    known = manifest.classes or _ordered({row.label for row in manifest.rows})
    number = {name: index for index, name in enumerate(known)}
    rows = _Rows(
        labels=np.array([number[row.label] for row in manifest.rows], dtype=np.int64),
        split=np.array([row.split for row in manifest.rows], dtype="<U8"),
        ids=np.array([row.id for row in manifest.rows]),
        group=group if (group != "").any() else None,
        present={m: np.zeros(n, dtype=bool) for m in recipes},
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
    return specs, rows, [f for index in sorted(noticed) for f in noticed[index]], resumed


def _answers(folder: Path, manifest: Manifest, todo: list[tuple[int, Any]], workers: int) -> Iterator[dict[str, Any]]:
    if not todo:
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


def _write_arrays(
    source: Arrays, folder: Path, options: Options
) -> tuple[dict[str, ModalitySpec], _Rows, list[Finding], int]:
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
    rows = _Rows(source.labels.astype(np.int64), split, source.ids, source.group, present, digest)
    return specs, rows, findings, 0


def _digest(row: np.ndarray) -> str:
    """A hash of a sample's content by which copies are found; '' where it is the same all over."""
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
    stored = array.copy() if array.dtype == np.uint8 and kind in ("image", "frames") else array.astype(np.float32)
    return stored, stored.shape[1:]


def _drop(
    folder: Path, rows: _Rows, specs: Mapping[str, ModalitySpec], *, complete_only: bool
) -> tuple[_Rows, list[Finding]]:
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
    lacking = "lack a modality" if complete_only else "have no usable modality"
    return rows.take(keep), [Finding("note", "left out", "rows", f"{gone} rows {lacking}")]


def _without_empty(labels: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and classes without the classes that no row is left of."""
    kept, index = np.unique(labels, return_inverse=True)
    return index.astype(np.int64), tuple(classes[i] for i in kept)


def _normalised(folder: Path, m: str, spec: ModalitySpec, train: np.ndarray) -> ModalitySpec:
    """The spec with mean and standard deviation of the train split; raises DataError where no train row has m."""
    if not train.any():
        raise DataError(f"No training sample has modality '{m}'.", "Check its files, or leave it out with --modality.")
    if spec.kind == "text":
        return spec
    mean, std = train_moments(folder / f"{m}.npy", np.flatnonzero(train), spec.kind)
    preprocessing = {**spec.preprocessing, "mean": mean.tolist(), "std": std.tolist()}
    return ModalitySpec(kind=spec.kind, shape=spec.shape, preprocessing=preprocessing)
