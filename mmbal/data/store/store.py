"""The store: a prepared data set as memory-mapped arrays, decoded once, read by every later command.

A store is a folder::

    meta.json        format, name, classes, modalities (kind, shape, preprocessing), counts, source, hashes
    rows.npz         labels (N,), split (N,), ids (N,), group (N,) and group_<name> (N,) where known,
                     present_<m> (N,) per modality
    <m>.npy          (N, ...) what is kept of modality m: uint8 for pictures, float16 for spectrograms,
                     float32 for features and sequences, int32 for token ids
    <m>.bin, <m>.offsets.npy   in its place, pictures kept as files (``compressed`` in meta.json): see compressed.py

A view is a store without arrays: its ``rows.npz`` also holds ``base (N,)``, the rows it takes, with repeats if wanted,
from the store that ``meta.json`` names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmbal.config import Config
from mmbal.data.store.compressed import Compressed
from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.files import cache_folder, read_json, read_npz, refuse_existing, sha256, write_json, write_npz, write_text
from mmbal.predictions.names import SEGMENT

FORMAT = 1
COMPRESSED = 2  # format of a store that keeps pictures as files
SPLITS = ("train", "val", "test")
FINDING = {"level", "kind", "where", "reason"}  # what each finding of a store has
LATEST = "latest"  # folder of the cache

Kind = Literal["spectrogram", "image", "frames", "sequence", "features", "text"]


class ModalitySpec(Config):
    """What one modality is: its kind, the shape of one sample as an encoder sees it, and how it is made.

    Shapes: spectrogram (1, F, T); image (C, H, W); frames (T, C, H, W); sequence (T, D); features (D,); text (L,).
    ``preprocessing`` holds ``recipe`` (all that is needed to redo it on a new clip), ``mean`` and ``std`` (of the
    train split; lists, one value a channel or dimension) and ``augment`` (what a loader may do in training).
    """

    kind: Kind
    shape: tuple[int, ...]
    preprocessing: dict[str, Any] = {}


class Indexed:
    """Rows of an array picked by index, without a copy until they are asked for."""

    def __init__(self, array: np.ndarray | Compressed, rows: np.ndarray) -> None:
        self.array = array
        self.rows = rows
        self.shape = (len(rows), *array.shape[1:])
        self.dtype = array.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        first, *rest = index if isinstance(index, tuple) else (index,)
        return self.array[(self.rows[first], *rest)]


Array = np.ndarray | Indexed | Compressed


@dataclass(frozen=True, repr=False)
class Store:
    """A prepared data set of N samples, C classes and M modalities; ``arrays[m]`` is indexed by row and never copied."""

    path: Path
    name: str
    classes: tuple[str, ...]
    modalities: dict[str, ModalitySpec]
    labels: np.ndarray
    split: np.ndarray
    ids: np.ndarray
    group: np.ndarray | None
    present: dict[str, np.ndarray]
    arrays: dict[str, Array]
    hash: str
    meta: dict[str, Any] = field(default_factory=dict)
    segments: dict[str, np.ndarray] = field(default_factory=dict)  # properties of the samples (N,)

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:
        splits = ", ".join(f"{n} {name}" for name, n in self.splits().items())
        lines = [f"Store '{self.name}' at {self.path}: {len(self)} samples ({splits}), {len(self.classes)} classes"]
        for m, spec in self.modalities.items():
            missing = int((~self.present[m]).sum())
            lines.append(
                f"{m}: {spec.kind} {tuple(spec.shape)}" + (f", missing from {missing} samples" if missing else "")
            )
        return "\n".join(lines)

    __repr__ = __str__

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store; raises UsageError where ``path`` is none, DataError where it is damaged."""
        path = Path(path)
        if not (path / "meta.json").is_file():
            hint = "Make one with: mmbal prepare SOURCE --out STORE"
            raise UsageError(f"{path} is not a store: it has no meta.json.", hint)
        meta = read_json(path / "meta.json")
        try:
            if meta["format"] not in (FORMAT, COMPRESSED):
                known = f"this mmbal reads {FORMAT} and {COMPRESSED}"
                raise DataError(f"{path} has store format {meta['format']}; {known}.", "Prepare it again.")
            rows = read_npz(path / "rows.npz")
            modalities = {m: ModalitySpec.model_validate(spec) for m, spec in meta["modalities"].items()}
            arrays = _open_arrays(path, meta, rows, modalities)
            store = cls(
                path=path,
                name=meta["name"],
                classes=tuple(meta["classes"]),
                modalities=modalities,
                labels=rows["labels"],
                split=rows["split"],
                ids=rows["ids"],
                group=rows.get("group"),
                present={m: rows[f"present_{m}"] for m in modalities},
                arrays=arrays,
                hash=meta["hash"],
                meta=meta,
                segments={k.removeprefix(SEGMENT): value for k, value in rows.items() if k.startswith(SEGMENT)},
            )
        except RecursionError:
            raise DataError(f"{path} is a view of itself.") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} is a damaged store ({type(error).__name__}: {error}).", "Prepare it again."
            ) from None
        for m, array in arrays.items():
            if len(array) != len(store):
                reason = f"the array of {m} has {len(array)} rows, the store {len(store)}"
                raise DataError(f"{path}: {reason}.", "Prepare it again.")
        if "files" not in meta:
            raise DataError(f"{path} is a damaged store (it has no 'files').", "Prepare it again.")
        if problem := store._inconsistent():
            raise DataError(f"{path} is a damaged store ({problem}).", "Prepare it again.")
        return store

    def _inconsistent(self) -> str:
        """What of the rows or of meta.json can't be so; '' where all fits."""
        n, labels = len(self), self.labels
        if not all(isinstance(text, str) for text in (self.name, self.hash, *self.classes)):
            return "its name, hash or classes are no texts"
        columns = {"labels": labels, "split": self.split, "ids": self.ids, **self.present, **self.segments}
        odd = next((name for name, column in columns.items() if column.shape != (n,)), None)
        if odd is not None:
            return f"'{odd}' does not have a value for each of {n} rows"
        if labels.dtype.kind not in "iu" or (n and not 0 <= labels.min() <= labels.max() < len(self.classes)):
            return "the labels are not those of its classes"
        if not all(mask.dtype.kind == "b" for mask in self.present.values()):
            return "it does not say which modalities are present"
        findings, files = self.meta.get("findings", []), self.meta["files"]
        if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
            return "it does not name the hashes of its files"
        if not isinstance(findings, list) or not all(isinstance(f, dict) and f.keys() >= FINDING for f in findings):
            return "its findings can't be read"
        return ""

    def rows(self, split: str) -> np.ndarray:
        """Row indices of one split; raises UsageError where it has none."""
        found = np.flatnonzero(self.split == split)
        if not len(found):
            have = [str(s) for s in np.unique(self.split)]
            raise UsageError(f"The store {self.path} has no samples in split '{split}'.", f"It has: {', '.join(have)}.")
        return found

    def splits(self) -> dict[str, int]:
        """Split name -> number of rows, train, val and test first."""
        names = dict.fromkeys([*SPLITS, *self.split.tolist()])
        counts = {str(s): int((self.split == s).sum()) for s in names}
        return {s: n for s, n in counts.items() if n}

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Split -> class -> ``{"samples": n, <m>: samples that have modality m}``."""
        result: dict[str, dict[str, dict[str, int]]] = {}
        for split in self.splits():
            rows = self.split == split
            masks = {"samples": rows} | {m: rows & present for m, present in self.present.items()}
            tables = {what: np.bincount(self.labels[mask], minlength=len(self.classes)) for what, mask in masks.items()}
            result[split] = {
                name: {what: int(table[index]) for what, table in tables.items()}
                for index, name in enumerate(self.classes)
            }
        return result

    def require(self, modality: str) -> ModalitySpec:
        """The spec of a modality; raises UsageError with the nearest names where there is none."""
        if modality not in self.modalities:
            raise UsageError(
                f"The store {self.path} has no modality '{modality}'.", did_you_mean(modality, self.modalities)
            )
        return self.modalities[modality]

    def verify(self) -> list[str]:
        """Read everything again and compare with the hashes written at preparation; one sentence per difference."""
        problems = []
        for file, expected in self.meta["files"].items():
            if not (self.path / file).is_file():
                problems.append(f"{file} is missing.")
            elif sha256(self.path / file) != expected:
                problems.append(f"{file} has changed: its SHA-256 is not the one written at preparation.")
        if content_hash(self.meta) != self.hash:
            problems.append("meta.json has changed: its content does not give the store's hash.")
        if (
            "view_of" in self.meta
            and (base := Store.open(self.path / self.meta["view_of"])).hash != self.meta["base_hash"]
        ):
            problems.append(f"the store it is a view of, {base.path}, has changed.")
        return problems


def _open_arrays(
    path: Path, meta: Mapping[str, Any], rows: Mapping[str, np.ndarray], modalities: Mapping[str, ModalitySpec]
) -> dict[str, Array]:
    if "view_of" in meta:
        base = Store.open(path / meta["view_of"])
        owned = {m: base.arrays[m] for m in modalities}
        return {m: Indexed(a if isinstance(a, Compressed) else np.asarray(a), rows["base"]) for m, a in owned.items()}
    arrays: dict[str, Array] = {}
    compressed = meta.get("compressed", {})
    for m in modalities:
        for file in files_of(m, compressed):
            if not (path / file).is_file():
                raise DataError(f"{path} is a damaged store: {file} is missing.", "Prepare it again.")
        try:
            if m in compressed:
                arrays[m] = Compressed(path, m, tuple(compressed[m]["shape"]))
            else:
                arrays[m] = np.load(path / f"{m}.npy", mmap_mode="r", allow_pickle=False)
        except Exception as error:  # numpy raises many kinds on a damaged header
            files = " or ".join(files_of(m, compressed))
            raise DataError(f"{path} is a damaged store ({files}: {error}).", "Prepare it again.") from None
    return arrays


def files_of(m: str, compressed: Mapping[str, Any]) -> list[str]:
    """The files of a modality's array."""
    return [f"{m}.bin", f"{m}.offsets.npy"] if m in compressed else [f"{m}.npy"]


def content_hash(meta: Mapping[str, Any]) -> str:
    """Hash of what a store holds: classes, modalities with their preprocessing, and the hash of each file."""
    content = {key: meta[key] for key in ("format", "classes", "modalities", "files")}
    content |= {key: meta[key] for key in ("compressed",) if key in meta}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def seal(
    folder: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    modalities: Mapping[str, ModalitySpec],
    rows: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
) -> None:
    """Write ``rows.npz`` and, last, ``meta.json`` beside the arrays in ``folder``: from then on it is a store."""
    write_npz(folder / "rows.npz", rows)
    compressed = meta.get("compressed", {})
    arrays = [] if "view_of" in meta else [file for m in modalities for file in files_of(m, compressed)]
    files = sorted(["rows.npz", *arrays])
    document = {
        "format": COMPRESSED if compressed else FORMAT,
        "name": name,
        "classes": list(classes),
        "modalities": {m: spec.model_dump(mode="json") for m, spec in modalities.items()},
        **meta,
        "files": {file: sha256(folder / file) for file in files},
    }
    # Through JSON and back: the hash must be that of the document as it will be read.
    document = json.loads(json.dumps(document))
    write_json(folder / "meta.json", {**document, "hash": content_hash(document)})


def write_view(
    store: Store, rows: np.ndarray, out: Path, *, name: str | None = None, meta: Mapping[str, Any] | None = None
) -> Store:
    """A store whose samples are the given rows of another (repeats allowed), without copying an array.

    Raises UsageError where ``out`` exists.
    """
    refuse_existing(out)
    rows = np.asarray(rows, dtype=np.int64)
    # A view of a view points to the arrays' owner, so there are no chains of views.
    owner, owner_hash, base = store.path, store.hash, rows
    if "view_of" in store.meta:
        owner, owner_hash = store.path / store.meta["view_of"], store.meta["base_hash"]
        base = read_npz(store.path / "rows.npz")["base"][rows]
    picked = {"labels": store.labels[rows], "split": store.split[rows], "ids": store.ids[rows], "base": base}
    if store.group is not None:
        picked["group"] = store.group[rows]
    picked |= {f"{SEGMENT}{name}": values[rows] for name, values in store.segments.items()}
    picked |= {f"present_{m}": present[rows] for m, present in store.present.items()}
    out.mkdir(parents=True)
    try:
        seal(
            out,
            name=name or f"{store.name}-view",
            classes=store.classes,
            modalities=store.modalities,
            rows=picked,
            meta={"view_of": os.path.relpath(owner, out), "base_hash": owner_hash, **(meta or {})},
        )
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return Store.open(out)


def remember(store: Path) -> None:
    """Note ``store`` as the one prepared last from the current directory, in the user's cache."""
    with contextlib.suppress(OSError):  # where the cache can't be written, `--data` has to name the store
        write_text(_record(), str(store.resolve()) + "\n")


def latest_store() -> Path | None:
    """The store most recently prepared from the current directory, or None; relative where it lies below."""
    record = _record()
    if not record.is_file():
        return None
    path = Path(record.read_text(encoding="utf-8").strip())
    if not (path / "meta.json").is_file():
        return None
    here = Path.cwd().resolve()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _record() -> Path:
    """The file that names the store prepared last from the current directory."""
    return cache_folder() / LATEST / hashlib.sha256(str(Path.cwd().resolve()).encode()).hexdigest()[:16]
