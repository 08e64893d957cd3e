"""What a file is: by its first bytes, the members of an archive, or the keys of a JSON document."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileKind:
    """What a file is by its first bytes, in words, and what to do where predictions were expected."""

    name: str
    what: str
    advice: str = ""


IMPORT = "Turn it into predictions first: mmbal import FILE (docs/your-model.md)."
PLAIN = "mmbal never unpickles. Save plain arrays: np.savez('predictions.npz', labels=..., logits_audio=..., ...)."
MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (
        b"\x93NUMPY",
        FileKind("npy", "a single .npy array", "Save named arrays: np.savez('predictions.npz', labels=...)."),
    ),
    *((bytes([0x80, version]), FileKind("pickle", "a pickle", PLAIN)) for version in range(1, 6)),
    (b"\x89HDF\r\n", FileKind("hdf5", "an HDF5 file", "Read it with h5py and save its arrays with np.savez.")),
    (b"PAR1", FileKind("parquet", "a Parquet table", "Save it as CSV, then: mmbal import FILE.csv.")),
    (
        b"MATLAB 5.0",
        FileKind("mat", "a MATLAB file", "`mmbal prepare FILE.mat` reads features; save predictions as .npz."),
    ),
    (b"\x1f\x8b", FileKind("gzip", "a gzip archive", "Unpack it first.")),
    (b"\xd0\xcf\x11\xe0", FileKind("xls", "an old Excel file", "Save it as CSV, then: mmbal import FILE.csv.")),
)


def kind_of_file(path: Path) -> FileKind:
    """What the file is: by its first bytes, the members of an archive, the keys of a JSON document."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head:
        return FileKind("empty", "an empty file")
    if head.startswith(b"PK"):
        return _kind_of_archive(path)
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return kind
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _kind_of_json(path)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html")):
        return FileKind("html", "a web page", "Download the file itself, or export the table as CSV.")
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1", "replace")
    first = text.partition("\n")[0]
    if not all(c.isprintable() or c in "\t\r\ufeff" for c in first):
        return FileKind(
            "unknown", "a file of an unknown kind", "docs/your-model.md has the ways to a predictions file."
        )
    if any(mark in first for mark in ",;\t"):
        return FileKind("table", "a table of text (CSV)", IMPORT)
    return FileKind("text", "a text file", "docs/your-model.md has the ways to a predictions file.")


def _kind_of_archive(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile raises many kinds on a damaged archive; reading it gives the reason
        return FileKind("zip", "an .npz archive")
    if any(name.endswith("data.pkl") for name in names):
        return FileKind(
            "checkpoint",
            "a PyTorch file (weights, or a pickle)",
            "Predictions are an .npz of arrays; a checkpoint is read by `mmbal import FILE --data STORE`.",
        )
    if "[Content_Types].xml" in names:
        return FileKind("xlsx", "an Office document", "Save the sheet as CSV, then: mmbal import FILE.csv.")
    if names and not any(name.endswith(".npy") for name in names):
        return FileKind("archive", "a zip archive without arrays", "Unpack it first.")
    return FileKind("zip", "an .npz archive")


def _kind_of_json(path: Path) -> FileKind:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return FileKind("json", "a text file that looks like JSON, but is not valid")
    if isinstance(found, dict) and {"verdict", "settings"} <= found.keys():
        return FileKind(
            "diagnosis",
            "a diagnosis, the result of `mmbal diagnose`",
            "Give the predictions that it was made of; `mmbal report` compares diagnoses.",
        )
    if isinstance(found, dict) and str(found.get("format", "")).startswith("mmbal.rule"):
        return FileKind("rule", "a stored decision rule", "Give the predictions that it was fitted on.")
    return FileKind("json", "a JSON document", "docs/your-model.md has the ways to a predictions file.")
