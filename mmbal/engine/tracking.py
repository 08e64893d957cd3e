"""A run's folder while it is made: a new one, what the run ran with, and what happened."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from mmbal.data.store.store import Store
from mmbal.errors import UsageError
from mmbal.files import is_temporary, locked, refuse_existing, write_text
from mmbal.runs import CONFIG, ENVIRONMENT, FORMAT, METRICS
from mmbal.version import __version__

PACKAGES = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "scikit-learn", "av", "pydantic")


def versions() -> dict[str, str | None]:
    """Versions of mmbal, Python and the packages that decide figures; None for one that is not installed."""
    found: dict[str, str | None] = {"mmbal": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def environment(kind: str, store: Store, seed: int, device: str) -> dict[str, Any]:
    """What a run ran with: versions, machine, git revision of the current directory, store and seed."""
    return {
        "format": FORMAT,
        "kind": kind,
        "versions": versions(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "device": device,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "directory": os.getcwd(),
        "git": _git_revision(),
        "seed": seed,
        "store": {
            "name": store.name,
            "path": str(store.path.resolve()),
            "hash": store.hash,
            "splits": {s: int(n) for s, n in store.splits().items()},
        },
    }


def _git_revision() -> str | None:
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def new_folder(out: Path | None, default: str, force: bool) -> Path:
    """A run folder that does not exist yet; raises UsageError where ``out`` does, unless forced to replace it.

    Without ``out``: ``runs/<default>``, with a number where that is taken.
    """
    if out is None:
        return _numbered(Path("runs") / default)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        refuse_existing(out, force)
        if out.is_dir() and not ((out / CONFIG).is_file() or _hardly_begun(out)):
            raise UsageError(f"{out} is not a run folder, so --force does not replace it.", "Take another --out.")
        shutil.rmtree(out) if out.is_dir() else out.unlink()
    out.mkdir(parents=True, exist_ok=True)
    return out


def _hardly_begun(folder: Path) -> bool:
    """Whether a folder has nothing but what a kill leaves of a run's first moment."""
    return all(file.name == ENVIRONMENT or is_temporary(file) for file in folder.iterdir())


def _numbered(base: Path) -> Path:
    for n in count(1):
        folder = base if n == 1 else base.with_name(f"{base.name}-{n}")
        try:
            folder.mkdir(parents=True)  # of several processes, one makes it
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")


@contextmanager
def new_run(out: Path | None, default: str, force: bool) -> Iterator[Path]:
    """A :func:`new_folder` that no other process trains into, or replaces, while the block runs."""
    folder = new_folder(None, default, force) if out is None else out
    with locked(folder):
        yield new_folder(folder, default, force)


def write_metrics(folder: Path, epochs: list[dict[str, Any]]) -> None:
    """Write the epochs anew, atomically: after a resume the file is what an uninterrupted run would have written."""
    write_text(folder / METRICS, "".join(json.dumps(e, allow_nan=False) + "\n" for e in epochs))
