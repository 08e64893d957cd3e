"""The lists of known data sets, which differ between mirrors in header, separator, suffixes, letters and line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mmbal.data.media.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from mmbal.predictions.labels import spelled
from mmbal.predictions.tables import read_text

SEPARATORS = ",\t;| "
LOOKED_AT = 50  # lines by which the separator is told
HEADINGS = {  # names of columns, as :func:`spelled` compares them
    *("file", "filename", "filenames", "name", "clip", "clipname", "path", "filepath", "id", "index"),
    *("video", "videoid", "videoname", "youtubeid", "ytid", "audio"),
    *("label", "labels", "class", "classname", "category", "emotion", "target", "start", "startseconds", "split"),
}


def read_list(path: Path, columns: int = 1, separators: str = SEPARATORS) -> list[list[str]]:
    """Cells of a list; see :func:`numbered`."""
    return [cells for _, cells in numbered(path, columns, separators)]


def numbered(path: Path, columns: int = 1, separators: str = SEPARATORS) -> list[tuple[int, list[str]]]:
    """(line, cells) of a list; empty lines, a header and an index column are left out.

    The separator is the one by which most lines have ``columns`` cells or more, of several the first.
    """
    lines = [(k, line) for k, line in enumerate(read_text(path).splitlines(), start=1) if line.strip()]
    mark = max(separators, key=lambda mark: sum(len(_cells(line, mark)) >= columns for _, line in lines[:LOOKED_AT]))
    rows = [(k, cells) for k, line in lines if any(cells := _cells(line, mark))]
    if rows and len(rows[0][1]) > columns and rows[0][1][0] in ("", "Unnamed: 0"):
        rows = [(k, cells[1:]) for k, cells in rows]
    return rows[1:] if rows and _is_header(rows[0][1]) else rows


def _cells(line: str, mark: str) -> list[str]:
    """The cells of one line; a quotation mark that is not closed means nothing."""
    if line.count('"') % 2:
        return [cell.strip(' "') for cell in line.split(mark)]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=mark, skipinitialspace=True))]


def _is_header(cells: Iterable[str]) -> bool:
    words = [spelled(cell) for cell in cells if cell]
    return sum(word in HEADINGS for word in words) >= min(2, len(words))


def clip_of(cell: str) -> str:
    """The clip that a list names, without folders and the suffix of a sound or a video."""
    name = PurePosixPath(cell.replace("\\", "/")).name
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES) else name
