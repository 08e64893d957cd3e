"""`mmbal prepare init`: a manifest written from a folder of class folders."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from mmbal.data.media.decode import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES, walk
from mmbal.data.preparation.speakers import speakers
from mmbal.errors import DataError, UsageError
from mmbal.files import refuse_existing, write_text
from mmbal.predictions.splits import ALIASES

COLUMN = (
    dict.fromkeys(VIDEO_SUFFIXES, "path")
    | dict.fromkeys(AUDIO_SUFFIXES, "audio")
    | dict.fromkeys(PICTURE_SUFFIXES, "image")
    | {".gif": "video", ".txt": "text"}
)
ORDER = ("path", "video", "audio", "image", "text")


class Listing(NamedTuple):
    """A manifest that was written."""

    path: Path
    samples: int
    speakers: tuple[str, ...]  # that the names of the files show


def write_manifest(folder: Path, out: Path | None = None, *, force: bool = False) -> Listing:
    """Write ``manifest.csv``, in ``folder`` by default.

    The layout is ``[SPLIT/]CLASS/...``; files of one stem in one folder are one sample's modalities. A clip beside a
    sound of its own gives only its picture. Where the names show speakers (:mod:`mmbal.data.preparation.speakers`), they
    are the column ``group``, so that carved splits keep each speaker on one side. Raises UsageError (no such folder, the
    manifest exists), DataError (no media).
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    path = out or folder / "manifest.csv"
    refuse_existing(path, force)
    samples: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for file in walk(folder):
        column = COLUMN.get(file.suffix.lower())
        if column is None or not file.is_file():
            continue
        if any("\ud800" <= sign <= "\udfff" for sign in str(file)):
            raise DataError(
                f"The name of {file} is not UTF-8, so that no list can hold it.", "Rename it, or its folder."
            )
        *folders, name = file.relative_to(folder).parts
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
    people = speakers(*zip(*((_below(stem, label), label) for _, label, stem in samples), strict=True))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*columns, "label", "split", *(["group"] if people else [])])
    for k, ((split, label, _), cells) in enumerate(samples.items()):
        writer.writerow([*(cells.get(c, "") for c in columns), label, split, *([people[k]] if people else [])])
    write_text(path, table.getvalue())
    return Listing(path, len(samples), tuple(dict.fromkeys(people or ())))


def _below(stem: str, label: str) -> str:
    """A sample's path below its class's folder."""
    folders = Path(stem).parts
    return "/".join(folders[folders.index(label) + 1 :])


def _cell(file: Path, manifest: Path) -> str:
    """A file as the manifest names it: relative to its folder where it lies below, else absolute."""
    try:
        return file.relative_to(manifest.parent).as_posix()
    except ValueError:
        return str(file.resolve())
