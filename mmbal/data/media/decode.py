"""What a media file is: its suffix, whether it can be read at all, and what reading it gives."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

T = TypeVar("T")

AUDIO_SUFFIXES = (
    ".wav",
    ".flac",
    ".mp3",
    ".ogg",
    ".oga",
    ".opus",
    ".m4a",
    ".aac",
    ".wma",
    ".aif",
    ".aiff",
    ".au",
    ".amr",
    ".ac3",
    ".mka",
    ".weba",
    ".caf",
    ".w64",
)
VIDEO_SUFFIXES = (
    ".mp4",
    ".avi",
    ".mkv",
    ".webm",
    ".mov",
    ".flv",
    ".mpg",
    ".mpeg",
    ".m4v",
    ".wmv",
    ".3gp",
    ".ts",
    ".mts",
    ".m2ts",
    ".ogv",
    ".vob",
    ".asf",
    ".f4v",
)
PICTURE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".bmp",
    ".webp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".avif",
    ".tga",
    ".jp2",
    ".j2k",
    ".jpe",
    ".pbm",
    ".pnm",
    ".pfm",
    ".dib",
    ".pcx",
    ".sgi",
    ".qoi",
    ".apng",
    ".ico",
    ".dds",
    ".psd",
)
BESIDE = {  # files that operating systems add, in lower case; names that begin with a dot are hidden anyway
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "desktop.ini",
}
NOT_MEDIA = {  # the first bytes of files that are not the media that their names claim
    b"version https://git-lfs.github.com/spec/": ("pointer", "a Git LFS pointer, not the media"),
    b"\x00\x05\x16\x07": ("corrupt", "a Mac's notes about a file (AppleDouble), not the file"),
    b"<!DOCTYPE html": ("corrupt", "a web page, not the media"),
    b"<html": ("corrupt", "a web page, not the media"),
}


# Failures of the system, not of a file: no handles left, no memory, a full disk.
OF_SYSTEM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)


class Unusable(Exception):
    """A file gives nothing for a modality: the finding's kind, and the reason in a few words."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass
class Decoded:
    """What was read.

    ``array``; the ``seconds`` of media behind it; ``remarks`` (kind, reason) about its quality; ``notes`` (kind, reason)
    about what was done; ``distinct``, of how many different pictures it is made.
    """

    array: np.ndarray
    seconds: float | None = None
    remarks: list[tuple[str, str]] = field(default_factory=list)
    distinct: int = 1
    notes: list[tuple[str, str]] = field(default_factory=list)


def check_file(path: Path) -> None:
    """Raise Unusable where ``path`` is missing, empty, no regular file, unreadable, or known to be no media."""
    if not path.exists():
        raise Unusable("missing", "a link to a file that is not there" if path.is_symlink() else "no such file")
    if not path.is_file():  # reading a pipe could wait for ever
        raise Unusable("corrupt", "a folder, not a file" if path.is_dir() else "not a regular file")
    try:
        with path.open("rb") as stream:
            head = stream.read(max(map(len, NOT_MEDIA)))
    except OSError as error:
        if error.errno in OF_SYSTEM:
            raise
        raise Unusable("unreadable", error.strerror or "cannot be opened") from None
    if not head:
        raise Unusable("empty", "0 bytes")
    for start, (kind, reason) in NOT_MEDIA.items():
        if head.startswith(start):
            raise Unusable(kind, reason)


def reason_of(error: Exception) -> str:
    """A library's error as the reason of a finding."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


def is_beside(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or one that operating systems add."""
    return name.startswith(".") or name.lower() in BESIDE


def walk(root: Path) -> Iterator[Path]:
    """All files and folders below ``root`` in the order of their paths, also behind links to folders.

    Files that operating systems add are skipped, and so is a folder that a link leads to for the second time.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        # Folders themselves come before links to them, so that a file is found under its own path.
        kept = [(os.path.islink(os.path.join(folder, name)), name) for name in folders if not is_beside(name)]
        folders[:] = [name for _, name in sorted(kept)]
        found += [Path(folder, name) for name in (*folders, *files) if not is_beside(name)]
    yield from sorted(found)


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names as people number them: ``frame2`` before ``Frame10``."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts] + [(-1, name)]


def spread(items: Sequence[T], n: int) -> list[T]:
    """``n`` of ``items`` in order: of more the middles of n equal parts, of fewer each as often as the others."""
    return [items[int((k + 0.5) * len(items) / n)] for k in range(n)]


Matrix = tuple[float, float, float, float]


def upright(picture: np.ndarray, matrix: Matrix) -> np.ndarray:
    """A picture ``(..., side, side)`` turned and mirrored by the nearest of the eight such ways to a display matrix.

    ``matrix`` is (a, b, c, d): the pixel (x, y) is shown at (a x + c y, b x + d y), y downwards.
    """
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, down, right = np.swapaxes(picture, -1, -2), b, c
    else:
        down, right = d, a
    if down < 0:
        picture = np.flip(picture, -2)
    return np.flip(picture, -1) if right < 0 else picture
