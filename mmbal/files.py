"""Files that are complete or do not exist: atomic writes, locks, JSON and NPZ without pickles, hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.errors import ConfigError, DataError, UsageError
from mmbal.file_kinds import kind_of_file


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether it is a file that a process was writing when it was killed, or still is."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes were writing in a folder; no other process may be at work in it."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes from ``path`` (there or not) while the block runs; the lock dies with this process.

    Raises UsageError where another process has it, unless told to ``wait``. Has no effect where the folder around ``path``
    can't be written or its file system has no locks.
    """
    from filelock import FileLock, Timeout

    whole = path.resolve()
    file = whole.with_name(f".{whole.name}.lock")
    lock, held = FileLock(file, timeout=-1 if wait else 0), True
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UsageError(
            f"Another mmbal process is writing {path}.", "Wait until it has ended, or choose another folder."
        ) from None
    except (OSError, NotImplementedError):
        held = False
    try:
        yield
    finally:
        if held:
            # While it is held, since a lock is never given on a file that is gone. Windows removes the file by itself.
            with suppress(OSError):
                file.unlink(missing_ok=True)
            lock.release()


def refuse_existing(path: Path | None, force: bool | None = None, because: str = "") -> None:
    """Raise UsageError where ``path`` is there and is not to be replaced; ``because`` ends the sentence.

    ``force`` is what the user said of it, None where a command has no --force. No path (None) refuses nothing.
    """
    if path is not None and path.exists() and not force:
        way = "remove it" if force is None else "give --force to replace it"
        raise UsageError(f"{path} exists already{because and ' '}{because}.", f"Choose another --out, or {way}.")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN is refused, since it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises UsageError where it is missing, DataError where it is not JSON."""
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not valid JSON ({error}).") from None
    return parse_json(text, str(path))


def parse_json(text: str, what: str) -> Any:
    """What a JSON text holds; ``what`` begins the sentence of the DataError where it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{what} is not valid JSON ({error}).") from None
    except RecursionError:
        raise DataError(f"{what} is not valid JSON (nested too deeply).") from None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; a last line cut short by a crash is left out. Raises DataError."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], start=1):
        record = parse_json(line, f"Line {number} of {path}")
        if not isinstance(record, dict):
            raise DataError(f"Line {number} of {path} is no JSON object.")
        found.append(record)
    return found


def require_version(document: Mapping[str, Any], key: str, known: int, what: str) -> None:
    """Raise DataError where a document is of another version than this mmbal reads; one that names none is of version 1."""
    version = document.get(key, 1)
    if version != known:
        raise DataError(f"{what} has the version {version}; this mmbal reads {known}.", "Use the mmbal that wrote it.")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed .npz, atomically; raises ValueError for an array of Python objects (a pickle)."""
    if objects := [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]:
        raise ValueError(f"Python objects cannot be written as arrays: {', '.join(objects)}.")
    with atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **dict(arrays))  # type: ignore[arg-type]  # NumPy before 2.2 has no allow_pickle here


def npz_keys(path: Path) -> list[str]:
    """Names of the arrays of an .npz, without reading them; empty where ``path`` is no such archive."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return [name.removesuffix(".npy") for name in names] if all(n.endswith(".npy") for n in names) else []


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz, never unpickling.

    Raises UsageError (no file) or DataError (another kind of file, which is named; damaged; or the key that holds objects).
    """
    if not path.is_file():
        raise UsageError(f"There is no {'file' if not path.is_dir() else 'file but a folder'} {path}.")
    kind = kind_of_file(path)
    if kind.name != "zip":
        raise DataError(f"{path} is {kind.what}, not an .npz archive of arrays.", kind.advice)
    arrays: dict[str, np.ndarray] = {}
    key = ""
    require_memory(unpacked(path), f"{path} unpacks to")
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                if not isinstance(array := archive[key], np.ndarray):  # numpy gives other members as they are
                    raise ValueError(f"'{key}' is no array")
                arrays[key] = array
    except ValueError as error:
        if "pickle" in str(error).lower() or "object array" in str(error).lower():
            raise DataError(
                f"'{key}' of {path} holds pickled objects, which mmbal never reads.",
                "Save plain arrays: np.savez(path, key=array), with texts as fixed-width strings: array.astype(str).",
            ) from None
        raise DataError(f"{path} is not a readable .npz archive ({error}).") from None
    except Exception as error:  # zipfile, zlib and numpy raise many kinds on a damaged archive
        raise DataError(f"{path} is not a readable .npz archive ({type(error).__name__}: {error}).") from None
    return arrays


def unpacked(path: Path) -> int:
    """Bytes that the arrays of an .npz need, by the directory of the archive and by the arrays' own headers."""
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as stream:
                    version = np.lib.format.read_magic(stream)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(stream)
                total += max(member.file_size, dtype.itemsize * math.prod(shape))
    except Exception:  # damaged: reading it gives the reason
        return total
    return total


def require_memory(needed: float, what: str) -> None:
    """Raise DataError where ``needed`` bytes are more than this machine's memory; ``what`` begins the sentence."""
    if not hasattr(os, "sysconf"):  # Windows
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise DataError(
            f"{what} {needed / 2**30:.3g} GiB, and this machine has {there / 2**30:.3g} GiB of memory.",
            "Give fewer samples or classes at a time, or use a machine with more memory.",
        )


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_tensors(path: Path) -> Any:
    """What `torch.save` wrote, if it is tensors and plain values only.

    Raises UsageError where the file is missing, ConfigError where it is damaged or would need unpickling.
    """
    import pickle

    import torch

    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ConfigError(
            f"{path} holds more than tensors and plain values, or is no checkpoint; mmbal never unpickles.",
            "Save it again as a state dict: torch.save(model.state_dict(), path).",
        ) from None
    except Exception as error:  # zip, pickle and torch raise many kinds on a damaged file
        detail = (str(error) or "it ends too early").splitlines()[0]
        raise ConfigError(f"{path} is damaged ({type(error).__name__}: {detail}).") from None


def write_tensors(path: Path, value: Any) -> None:
    """`torch.save`, atomically."""
    import torch

    with atomic(path) as temporary, temporary.open("wb") as stream:
        try:
            torch.save(value, stream)
        except RuntimeError as error:  # torch's writer forgets why the disk refused
            raise OSError(
                errno.ENOSPC, f"the checkpoint can't be written ({error})".split("\n")[0], str(path)
            ) from None


def cache_folder() -> Path:
    """Where mmbal keeps what it can make again: MMBAL_CACHE, else the user's cache."""
    return Path(os.environ.get("MMBAL_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmbal"
