"""From samples to a store: encode what is not yet encoded, check all of it, seal it; atomic and resumable.

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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mmbal.cluster import Pool
from mmbal.data.preparation.arrays import Arrays, write_arrays
from mmbal.data.preparation.checks import leaks, repeats, spellings, whole
from mmbal.data.preparation.compression import compress
from mmbal.data.preparation.encoding import classes_of, encode
from mmbal.data.preparation.findings import Finding, Progress
from mmbal.data.preparation.manifest import Manifest
from mmbal.data.preparation.options import Options
from mmbal.data.preparation.rows import drop, without_empty
from mmbal.data.store.moments import train_moments
from mmbal.data.store.normalisation import normalised
from mmbal.data.store.store import FORMAT, ModalitySpec, Store, seal
from mmbal.errors import DataError, UsageError
from mmbal.files import locked, read_json, refuse_existing
from mmbal.predictions.names import SEGMENT
from mmbal.predictions.splits import complete, split_hash

STORED_FINDINGS = 1000
ENCODING = 5  # raised where the same file gives other arrays than before


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
    workers: int | Pool,
    force: bool,
    wait: bool = False,
    plan: str | None = None,
    progress: Progress | None = None,
) -> Built:
    """Build a store at ``out``; see the module for how. ``workers`` = 0 encodes in this process, a pool in its
    tasks; ``plan`` is what :func:`planned` gives, where the caller has it.

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
    plan = plan or planned(source)
    fingerprint = identity(plan, options)
    # Checked before the lock, since reading needs none, and again after it: another process may have written it meanwhile.
    if (out / "meta.json").is_file() and not force:
        return _existing(out, fingerprint)
    with locked(out, wait=wait):
        if (out / "meta.json").is_file() and not force:
            return _existing(out, fingerprint)
        return _build(source, out, options, plan, workers, progress)


def _check_replaceable(out: Path) -> None:
    """Raise UsageError where a store at ``out`` would replace something that is not a store."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise UsageError(
            f"--out {out} is the folder you are in.", "Give the store a folder of its own: --out stores/NAME."
        )
    if out.exists() and not (out / "meta.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} holds something that is not a store, so it is not replaced.", "Choose another --out.")


def _existing(out: Path, fingerprint: str) -> Built:
    """The store at ``out``; raises UsageError where it was made from something else."""
    if read_json(out / "meta.json").get("fingerprint") != fingerprint:
        refuse_existing(out, False, "and was made from something else")
    store = Store.open(out)
    return Built(store, [Finding(**f) for f in store.meta["findings"]], existed=True)


def _build(
    source: Manifest | Arrays, out: Path, options: Options, plan: str, workers: int | Pool, progress: Progress | None
) -> Built:
    partial = out.with_name(f".{out.name}.partial")
    if not _continues(partial, plan):
        if partial.is_symlink():
            partial.unlink()
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    if isinstance(source, Manifest):
        specs, rows, findings, resumed = encode(source, partial, plan, workers, progress)
        classes = classes_of(source)
    else:
        (specs, rows, findings), resumed = write_arrays(source, partial), 0
        classes = source.classes
    rows, lost = drop(partial, rows, specs, complete_only=options.complete)
    findings = [*lost, *source.findings, *findings]
    if options.complete:
        rows.labels, classes = without_empty(rows.labels, classes)
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
        raise DataError(
            f"{source.name} has no training samples ({have}).", "--resplit carves new splits from all samples."
        )
    listed = [source.rows[k] for k in rows.number] if isinstance(source, Manifest) else []
    # Findings on the whole come first: of very many findings a store keeps only the first ones.
    findings = [
        *whole(rows.labels, rows.split, rows.group, classes, source.known_leak),
        *spellings(rows.labels, classes, rows.group),
        *(Finding("note", "split", source.name, text) for text in [*source.notes, *carved]),
        *findings,
        *repeats(listed, rows.ids, rows.split),
        *leaks(rows.ids, rows.split, rows.labels, classes, rows.digest, listed),
    ]
    specs = {m: _measured(partial, m, spec, (rows.split == "train") & rows.present[m]) for m, spec in specs.items()}
    specs |= {m: normalised(specs[m], how, m) for m, how in options.normalise.items()}
    compressed = {} if options.codec == "raw" else compress(partial, specs, options.codec, options.quality, progress)
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
            **{f"{SEGMENT}{name}": values for name, values in rows.segments.items()},
            **{f"present_{m}": mask for m, mask in rows.present.items()},
        },
        meta={
            "source": source.meta,
            "split": {
                "hash": split_hash(rows.ids.tolist(), rows.split.tolist()),
                "carved": carved,
                "notes": source.notes,
            },
            "fingerprint": identity(plan, options),
            "finding_counts": dict(sorted(Counter(f"{f.level}: {f.kind}" for f in findings).items())),
            "findings": [f.to_dict() for f in findings[:STORED_FINDINGS]],
            **({"compressed": compressed} if compressed else {}),
        },
    )
    # The plan goes before the raw arrays, so that what a kill leaves is not gone on with.
    for leftover in ("journal.jsonl", "plan.json", *(f"{m}.npy" for m in compressed)):
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


def identity(plan: str, options: Options) -> str:
    """Hash of all that decides what a store will hold: what is encoded (see :func:`planned`) and the options."""
    # Options that stores of before do not have; the quality is one only of what is compressed.
    unset = {name for name in ("normalise", "codec") if getattr(options, name) == getattr(Options(), name)}
    unset |= {"quality"} if "codec" in unset else set()
    return hashlib.sha256((plan + options.model_dump_json(exclude=unset)).encode()).hexdigest()


def planned(source: Manifest | Arrays) -> str:
    """Hash of all that decides what is encoded: recipes, rows, size and date of the files behind them."""
    digest = hashlib.sha256(f"{FORMAT} {source.name}".encode())
    if isinstance(source, Arrays):
        for key in sorted(source.arrays):
            digest.update(f"{key} {source.kinds[key]}".encode() + np.ascontiguousarray(source.arrays[key]).tobytes())
        for column in (source.labels, source.split, source.ids, source.group):
            digest.update(b"-" if column is None else np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()
    recipes = {m: r.model_dump(mode="json") for m, r in source.recipes.items()}
    digest.update(json.dumps([ENCODING, source.classes, recipes]).encode())
    stats: dict[str, tuple[int, int]] = {}
    for row in source.rows:
        for path in {s.path for s in row.sources.values()} - stats.keys():
            stats[path] = _stat(path)
        files = [(m, *asdict(s).values(), *stats[s.path]) for m, s in row.sources.items()]
        digest.update(json.dumps([row.id, row.label, row.split, row.group, files, *row.segments.items()]).encode())
    return digest.hexdigest()


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _continues(partial: Path, plan: str) -> bool:
    """Whether ``partial`` is of the same plan. One with links is not gone on with: they could lead to other files."""
    try:
        if partial.is_symlink() or any(file.is_symlink() for file in partial.iterdir()):
            return False
        return bool(json.loads((partial / "plan.json").read_text())["fingerprint"] == plan)
    except (OSError, ValueError, KeyError):
        return False


def _measured(folder: Path, m: str, spec: ModalitySpec, train: np.ndarray) -> ModalitySpec:
    """The spec with mean and standard deviation of the train split; raises DataError where no train row has m."""
    if not train.any():
        raise DataError(f"No training sample has modality '{m}'.", "Check its files, or leave it out with --modality.")
    if spec.kind == "text":
        return spec
    mean, std = train_moments(folder / f"{m}.npy", np.flatnonzero(train), spec.kind)
    preprocessing = {**spec.preprocessing, "mean": mean.tolist(), "std": std.tolist()}
    return ModalitySpec(kind=spec.kind, shape=spec.shape, preprocessing=preprocessing)
