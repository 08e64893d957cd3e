"""Finding a data set's parts on a user's disk, where every download lays them out a little differently."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mmbal.data.media.container import duration
from mmbal.data.media.decode import (
    AUDIO_SUFFIXES,
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    Unusable,
    check_file,
    is_beside,
    walk,
)
from mmbal.data.media.recipe import Source
from mmbal.errors import DataError

T = TypeVar("T")
YOUTUBE_SECONDS = 10  # length of the clips that these sets cut from YouTube's videos
YOUTUBE_ID = 11  # letters of a video's id
YOUTUBE_DEFAULTS: dict[str, Any] = {  # of preparation: sound and frames as this field makes them of such clips
    "audio_features": "fbank",
    "sample_rate": 16000,
    "duration": float(YOUTUBE_SECONDS),
    "mels": 128,
    "steps": 1024,
    "fps": 1.0,
    "keep": 10,
    "crop": (0.08, 1.0),
}
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
            if child.is_dir() and not is_beside(child.name)
        ]


def find_folders(root: Path, pattern: str) -> list[Path]:
    """Folders whose name matches, whatever the case; nearest first."""
    return [folder for folder in folders(root) if re.fullmatch(pattern, folder.name, re.IGNORECASE)]


def find_file(root: Path, *names: str) -> Path | None:
    """The first file of one of these names, nearest first; where there is none, of one that differs in case alone."""
    places = list(folders(root))
    exact = (folder / name for folder in places for name in names if (folder / name).is_file())
    small = {name.lower() for name in names}
    other = (file for folder in places for file in sorted(folder.iterdir()) if file.name.lower() in small)
    return next(exact, None) or next((file for file in other if file.is_file()), None)


def media_files(root: Path, suffixes: Sequence[str] = (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES)) -> Iterator[Path]:
    """All media below ``root``, in order."""
    yield from (path for path in walk(root) if path.suffix.lower() in suffixes and path.is_file())


def by_stem(files: Iterable[Path], key: Callable[[str], str] = str) -> dict[str, Path]:
    """Stem (through ``key``) -> file; the first of several is taken."""
    found: dict[str, Path] = {}
    for file in files:
        found.setdefault(key(unicodedata.normalize("NFC", file.stem)), file)
    return found


class AnyCase(dict[str, T]):
    """Name -> file; a name is also found in another case, where one file alone has it so.

    Not for sets whose names are those of YouTube, where the case tells two videos apart.
    """

    def __init__(self, files: Mapping[str, T]) -> None:
        super().__init__(files)
        self._small: dict[str, list[T]] = defaultdict(list)
        for name, file in files.items():
            self._small[name.casefold()].append(file)

    def __missing__(self, name: str) -> T:
        found = self._small.get(name.casefold(), [])
        if len(found) != 1:
            raise KeyError(name)
        return found[0]

    def find(self, name: str, otherwise: T) -> T:
        """The file of this name; ``otherwise`` where there is none."""
        try:
            return self[name]
        except KeyError:
            return otherwise


def has_pictures(folder: Path) -> bool:
    return any(file.suffix.lower() in PICTURE_SUFFIXES and not is_beside(file.name) for file in folder.iterdir())


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


def is_youtube_clip(name: str) -> bool:
    """Whether a folder's name is that of a clip: an id, with or without its times."""
    return re.fullmatch(r"[\w-]{11}(_\d+){0,2}", name) is not None


def clip_name(stem: str) -> str:
    """``ID_START`` of a clip's name in any of its spellings, ``ID`` where it has no time."""
    times = re.fullmatch(r"_(\d+)(_\d+)?", stem[YOUTUBE_ID:])
    return f"{stem[:YOUTUBE_ID]}_{int(times[1])}" if times else stem


def sources_of(
    clip: str, sounds: dict[str, Path], frames: dict[str, Path], videos: dict[str, Path]
) -> dict[str, Source]:
    """Where a clip's sound and pictures lie: files of their own, or its video; empty where there is nothing."""
    sources = {}
    video = _find(clip, videos)
    for m, own in (("audio", _find(clip, sounds)), ("video", _find(clip, frames))):
        if source := own or video:
            sources[m] = source
    return sources


def _find(clip: str, files: dict[str, Path]) -> Source | None:
    """The clip's own file; or the one named by the id alone: its part, where that is long enough to be the whole video."""
    if clip in files:
        return Source(str(files[clip]))
    whole = files.get(clip[:YOUTUBE_ID])
    if whole is None:
        return None
    start = int(clip[YOUTUBE_ID + 1 :])
    try:
        lasts = duration(whole) if whole.is_file() else 0.0
    except Unusable:
        lasts = 0.0
    if lasts <= YOUTUBE_SECONDS + 1 or lasts < start + 1:  # it is the clip itself, cut tightly or with a margin
        return Source(str(whole))
    return Source(str(whole), start=float(start), end=min(float(start + YOUTUBE_SECONDS), lasts))
