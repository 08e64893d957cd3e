"""`mmbal prepare init`: a manifest written from a folder of class folders."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path

from mmbal.data.media.decode import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mmbal.errors import DataError, UsageError
from mmbal.files import write_text
from mmbal.predictions.splits import ALIASES

COLUMN = (
    dict.fromkeys(VIDEO_SUFFIXES, "path")
    | dict.fromkeys(AUDIO_SUFFIXES, "audio")
    | dict.fromkeys(PICTURE_SUFFIXES, "image")
    | {".txt": "text"}
)
ORDER = ("path", "video", "audio", "image", "text")


def write_manifest(folder: Path, out: Path | None = None, *, force: bool = False) -> tuple[Path, int]:
    """Write ``manifest.csv`` (in ``folder`` by default) and return it with its number of rows.

    The layout is ``[SPLIT/]CLASS/...``; files of one stem in one folder are one sample's modalities. A clip beside a
    sound of its own gives only its picture. Raises UsageError (no such folder, the manifest exists), DataError (no media).
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    path = out or folder / "manifest.csv"
    if path.exists() and not force:
        raise UsageError(f"{path} exists already.", "Give --force to replace it.")
    samples: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for file in sorted(folder.rglob("*")):
        column = COLUMN.get(file.suffix.lower())
        relative = file.relative_to(folder)
        if column is None or any(part.startswith(".") for part in relative.parts):
            continue
        *folders, name = relative.parts
        split = ALIASES.get(folders[0].lower(), "") if folders else ""
        classes = folders[1:] if split else folders
        if classes:
            samples[split, classes[0], str(Path(*folders, Path(name).stem))][column] = _cell(file, path)
    if not samples:
        raise DataError(f"{folder} has no media in class folders.", "The layout is DIR/[train/]CLASS/FILE.")
    for cells in samples.values():
        if "path" in cells and "audio" in cells:
            cells["video"] = cells.pop("path")
    columns = [c for c in ORDER if any(c in cells for cells in samples.values())]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*columns, "label", "split"])
    for (split, label, _), cells in samples.items():
        writer.writerow([*(cells.get(c, "") for c in columns), label, split])
    write_text(path, table.getvalue())
    return path, len(samples)


def _cell(file: Path, manifest: Path) -> str:
    """A file as the manifest names it: relative to its folder where it lies below, else absolute."""
    try:
        return file.relative_to(manifest.parent).as_posix()
    except ValueError:
        return str(file.resolve())
