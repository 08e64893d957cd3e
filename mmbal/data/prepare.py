"""Preparation: a known data set, a manifest or a feature file becomes a store."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbal.cluster import Pool
from mmbal.config import validate
from mmbal.data.datasets.base import Dataset
from mmbal.data.preparation.arrays import Arrays
from mmbal.data.preparation.build import Built, build, identity, planned
from mmbal.data.preparation.checks import verdict
from mmbal.data.preparation.features import read_features
from mmbal.data.preparation.findings import Finding, Progress
from mmbal.data.preparation.manifest import Manifest, read_manifest
from mmbal.data.preparation.options import Options
from mmbal.data.preparation.probing import recipes_for
from mmbal.data.preparation.workers import cores
from mmbal.data.store.normalisation import normalised, preset
from mmbal.data.store.store import Kind, ModalitySpec, Store, remember
from mmbal.errors import DataError, Interrupted, UsageError, did_you_mean
from mmbal.files import cache_folder
from mmbal.registry import datasets
from mmbal.text import plural

MANIFESTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
FEATURES = (".npz", ".mat")
PICKLES = (".pkl", ".pickle", ".p", ".pt", ".pth", ".joblib")
OF_NAMED = ("split", "subset")  # options of known data sets, of those that have something to choose
OF_FILES = ("label", "modality", "kind")  # of files only
ROWS_A_WORKER = 8  # fewer are not worth starting another process


@dataclass(frozen=True)
class Preparation:
    """What preparation gave: the store, everything noticed, and whether it went on from an interrupted run."""

    store: Store
    findings: list[Finding]
    seconds: float
    resumed: int = 0
    existed: bool = False

    @property
    def verdict(self) -> str:
        return verdict(self.findings, len(self.store.classes))

    def check(self, strict: bool) -> None:
        """Raise DataError where a class is empty or, with ``strict``, where anything above a note was found."""
        empty = [f for f in self.findings if f.kind == "empty class"]
        serious = empty or [f for f in self.findings if strict and f.level != "note"]
        if serious:
            first = serious[0]
            raise DataError(
                f"{plural(len(serious), 'finding')}, the first: {first.where}: {first.kind}, {first.reason}.",
                f"The store was written anyway: {self.store.path}",
            )

    def to_dict(self) -> dict[str, Any]:
        store = self.store
        return {
            "store": str(store.path),
            "name": store.name,
            "hash": store.hash,
            "rows": len(store),  # the name of the same in earlier versions
            "samples": len(store),
            "classes": list(store.classes),
            "modalities": {m: {"kind": s.kind, "shape": list(s.shape)} for m, s in store.modalities.items()},
            "splits": store.splits(),
            "counts": store.counts(),
            "findings": [f.to_dict() for f in self.findings],
            "verdict": self.verdict,
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
            "existed": self.existed,
        }


def prepare(
    source: str | Path,
    *,
    out: str | Path | None = None,
    root: str | Path | None = None,
    workers: int | Pool | None = None,
    strict: bool = False,
    force: bool = False,
    verify: bool = False,
    download: bool = False,
    base_url: str | None = None,
    like: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Preparation:
    """Prepare ``source`` (a known data set's name, a manifest, a feature file) into a store at ``out``.

    ``out`` is ``stores/NAME`` by default; ``root`` is where a known data set lies; ``workers`` the number of processes (a
    core each by default, 0: this one), or a pool. ``download`` fetches a known data set's files first, from ``base_url``
    instead of their home if given; ``verify`` compares them with their published hashes. ``like`` is a preset of options
    (see :mod:`mmbal.data.store.normalisation`). ``options`` are those of the command ``mmbal prepare``, such as ``size=64``
    or ``sample_rate=8000`` (the fields of :class:`Options`), and stand above the preset's.
    A run that was interrupted goes on. Raises UsageError (no such source, ``out`` in use) and DataError (nothing usable;
    with ``strict`` any finding above a note, once the store is written).
    """
    began = time.perf_counter()
    given = {key: value for key, value in options.items() if value is not None}
    if like is not None:
        given = {**preset(like).options, **given}
    samples, chosen = read_source(
        source,
        None if root is None else Path(root),
        given,
        verify=verify,
        download=download,
        base_url=base_url,
        progress=progress,
    )
    chosen = chosen.model_copy(update={"normalise": _normalisation(samples, chosen, like)})
    target = Path("stores") / samples.name if out is None else Path(out)
    n = len(samples.rows) if isinstance(samples, Manifest) else len(samples.labels)
    if workers is None:
        workers = max(1, min(cores(), n // ROWS_A_WORKER))
    elif isinstance(workers, int) and workers < 0:
        raise UsageError(f"{workers} workers can't work.", "Give --workers 1 or more.")
    try:
        built: Built = build(samples, target, chosen, workers=workers, force=force, progress=progress)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written ({error.strerror or error}).",
            "The encoded samples are kept; the same command goes on.",
        ) from None
    except KeyboardInterrupt:
        raise Interrupted(
            "Interrupted; the encoded samples are kept.", "The same command goes on where it stopped."
        ) from None
    remember(target)
    result = Preparation(built.store, built.findings, time.perf_counter() - began, built.resumed, built.existed)
    if strict:
        result.check(strict)
    return result


def _normalisation(samples: Manifest | Arrays, options: Options, like: str | None) -> dict[str, str]:
    """The normalisation of each modality that is given one; raises UsageError where that can't be, before files are read."""
    known: dict[str, tuple[Kind, tuple[int, ...]]]
    if isinstance(samples, Manifest):
        known = {m: (recipe.kind, recipe.shape) for m, recipe in samples.recipes.items()}
    else:
        known = {m: (samples.kinds[m], array.shape[1:]) for m, array in samples.arrays.items()}
    for m, how in options.normalise.items():
        if m not in known:
            raise UsageError(f"There is no modality '{m}' (--normalise).", did_you_mean(m, known))
        kind, shape = known[m]
        normalised(ModalitySpec(kind=kind, shape=shape), how, m)
    presets = {} if like is None else {m: how for m, how in preset(like).normalise.items() if m in known}
    return {**presets, **options.normalise}


def read_source(
    source: str | Path,
    root: Path | None,
    given: Mapping[str, Any],
    *,
    verify: bool = False,
    download: bool = False,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> tuple[Manifest | Arrays, Options]:
    """The samples of a source and the options in force; raises UsageError where it is neither a name nor a file."""
    if str(source) in datasets.names():
        dataset: Dataset = datasets.get(str(source))()
        _refuse(source, given, *OF_FILES, *(name for name in OF_NAMED if name not in dataset.choices))
        options = validate(Options, {**dataset.defaults, **given}, "options")
        found: list[Finding] = []
        if base_url and not download:
            raise UsageError("--base-url needs --download.", "Give both, or neither.")
        if download:
            if root is None:
                raise UsageError("--download needs --root DIR.", "Files that are already in DIR are kept.")
            found += dataset.download(root, url=base_url, progress=progress)
        samples = dataset.read(root, options)
        if verify:
            found += dataset.check(root, progress)
        samples.findings = [*found, *samples.findings]
        return samples, options
    path = Path(source)
    options = validate(Options, dict(given), "options")
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", f"Write a manifest of it first: mmbal prepare init {path}")
    if not path.exists():
        if suffix or os.sep in str(source):
            raise UsageError(f"There is no file '{source}'.")
        raise UsageError(f"There is no known data set or file '{source}'.", did_you_mean(str(source), datasets.names()))
    if suffix in PICKLES:
        raise DataError(
            f"{path} is a pickle, which can run any code when it is read; mmbal never reads one.",
            f"Convert it once, where you trust it: {_conversion(path)} (one dictionary per split inside: docs/data.md)",
        )
    used = {"root": root, "verify": verify, "download": download, "base-url": base_url}
    _refuse(path, {**used, **given}, *used, *OF_NAMED, *(("kind",) if suffix in MANIFESTS else ()))
    if suffix in MANIFESTS:
        manifest = read_manifest(path, options)
        manifest.recipes = recipes_for(manifest.rows, options)
        return manifest, options
    if suffix in FEATURES:
        return read_features(path, options), options
    raise UsageError(f"{path} is not of a kind that can be prepared.", f"Known: {', '.join((*MANIFESTS, *FEATURES))}.")


def _refuse(source: str | Path, given: Mapping[str, Any], *names: str) -> None:
    """Raise UsageError where an option is given that does not apply to the source."""
    for name in names:
        if given.get(name):
            raise UsageError(f"--{name} does not apply to {source}.", "What applies to what: mmbal prepare --help")


def _conversion(path: Path) -> str:
    """The command by which a user makes an .npz of a pickle that holds a dictionary of arrays."""
    loader = "pickle", f"pickle.load(open('{path.name}', 'rb'))"
    if path.suffix.lower() in (".pt", ".pth"):
        loader = "torch", f"torch.load('{path.name}', weights_only=False)"
    elif path.suffix.lower() == ".joblib":
        loader = "joblib", f"joblib.load('{path.name}')"
    return f"python -c \"import {loader[0]}, numpy as np; np.savez('{path.stem}.npz', **{loader[1]})\""


def embedded_store() -> Path:
    """The shipped digits as a store in the user's cache, prepared on first use without network."""
    samples, options = read_source("avmnist", None, {})
    plan = planned(samples)
    out = cache_folder() / f"avmnist-{identity(plan, options)[:12]}"
    return build(samples, out, options, workers=0, force=False, wait=True, plan=plan).store.path
