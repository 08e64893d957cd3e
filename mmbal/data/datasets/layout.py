"""Finding a data set's parts on a user's disk, where every download lays them out a little differently."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mmbal.data.media.decode import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES, Unusable, check_file
from mmbal.errors import DataError

DEPTH = 3  # levels below --root that are looked at
SAMPLED = 16  # files looked at to tell pointers from media


def folders(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """``root`` and the folders below it, nearest first; folders of single clips' frames are not entered."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [
            child
            for folder in level
            if not re.fullmatch(r"Image-\d+-FPS.*", folder.name)
            for child in sorted(folder.iterdir())
            if child.is_dir() and not child.name.startswith(".")
        ]


def find_folders(root: Path, pattern: str) -> list[Path]:
    """Folders whose name matches, whatever the case; nearest first."""
    return [folder for folder in folders(root) if re.fullmatch(pattern, folder.name, re.IGNORECASE)]


def find_file(root: Path, *names: str) -> Path | None:
    """The first file of one of these names, nearest first."""
    return next((folder / name for folder in folders(root) for name in names if (folder / name).is_file()), None)


def media_files(root: Path, suffixes: Sequence[str] = (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES)) -> Iterator[Path]:
    """All media below ``root``, in order."""
    yield from (path for path in sorted(root.rglob("*")) if path.suffix.lower() in suffixes and path.is_file())


def by_stem(files: Iterable[Path], key: Callable[[str], str] = str) -> dict[str, Path]:
    """Stem (through ``key``) -> file; the first of several is taken."""
    found: dict[str, Path] = {}
    for file in files:
        found.setdefault(key(file.stem), file)
    return found


def has_pictures(folder: Path) -> bool:
    return any(file.suffix.lower() in PICTURE_SUFFIXES for file in folder.iterdir())


def read_list(path: Path, delimiter: str = ",") -> list[list[str]]:
    """Cells of a list without a header; empty lines are passed over."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [[cell.strip() for cell in cells] for cells in csv.reader(text.splitlines(), delimiter=delimiter) if cells]


def pointers(files: Sequence[Path]) -> int:
    """How many of a sample of ``files`` are Git LFS pointers; raises DataError where all are."""
    sample = files[:: max(1, len(files) // SAMPLED)]
    found = 0
    for file in sample:
        try:
            check_file(file)
        except Unusable as error:
            found += error.kind == "pointer"
    if sample and found == len(sample):
        raise DataError(
            f"The files in {sample[0].parent} are Git LFS pointers, not media.",
            "Run `git lfs pull` in the repository, or let mmbal fetch them with --download.",
        )
    return found
