"""Kinetics-Sounds: Kinetics-400 clips of 31 classes that can be seen and heard.

Arandjelovic & Zisserman, "Look, Listen and Learn", ICCV 2017 (arXiv 1705.08168), in the 14,799 / 2,597 lists of Peng et
al., CVPR 2022, shipped. The videos are on YouTube; a user's copy lacks those that are gone, and says which.

Any layout below ``--root`` will do: clips named ``ID_000010_000020``, ``ID_10`` or ``ID``, in folders by split or class or
none; sounds (``.wav``) and folders of frames under the same names are used where they are. A video of the bare ``ID``
that is longer than the clip is taken as the whole video, and cut. Sound as this field makes it: 10 s, Kaldi's filter
banks with 128 bins every 10 ms, 1,024 steps.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from mmbal import embedded
from mmbal.data.datasets.base import Dataset, require_root
from mmbal.data.datasets.layout import by_stem, has_pictures, media_files, read_list
from mmbal.data.media.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Unusable, duration
from mmbal.data.media.recipes import Recipe, Source
from mmbal.data.preparation.manifest import Manifest, Row
from mmbal.data.preparation.options import Options
from mmbal.errors import UsageError
from mmbal.registry import datasets

# In the order of the lists' numbers.
CLASSES = (
    "blowing nose",
    "blowing out candles",
    "bowling",
    "chopping wood",
    "dribbling basketball",
    "laughing",
    "mowing lawn",
    "playing accordion",
    "playing bagpipes",
    "playing bass guitar",
    "playing clarinet",
    "playing drums",
    "playing guitar",
    "playing harmonica",
    "playing keyboard",
    "playing organ",
    "playing piano",
    "playing saxophone",
    "playing trombone",
    "playing trumpet",
    "playing violin",
    "playing xylophone",
    "ripping paper",
    "shoveling snow",
    "shuffling cards",
    "singing",
    "stomping grapes",
    "tap dancing",
    "tapping guitar",
    "tapping pen",
    "tickling",
)
SECONDS = 10
ID = 11  # letters of a YouTube id


@datasets.register(
    title="Kinetics-Sounds, actions", modalities=("audio", "video"), classes=31, licence="YouTube's", shipped=False
)
class KineticsSounds(Dataset):
    defaults: ClassVar[dict[str, Any]] = {
        "audio_features": "fbank",
        "sample_rate": 16000,
        "duration": 10.0,
        "mels": 128,
        "steps": 1024,
        "fps": 1.0,
        "keep": 10,
        "crop": (0.08, 1.0),
        "val": 0.1,
    }

    def read(self, root: Path | None, options: Options) -> Manifest:
        root = require_root(root, "Kinetics-Sounds", "the clips")
        videos = by_stem(media_files(root, VIDEO_SUFFIXES), clip_name)
        sounds = by_stem(media_files(root, AUDIO_SUFFIXES), clip_name)
        frames = by_stem(
            (d for d in sorted(root.rglob("*")) if d.is_dir() and _is_clip(d.name) and has_pictures(d)), clip_name
        )
        if not (videos or sounds or frames):
            raise UsageError(f"{root} holds no clips.", "--root is the folder of the videos, or one above it.")
        rows, missing, total = [], Counter[str](), Counter[str]()
        for part in ("train", "test"):
            for name, _, number in read_list(embedded.path(f"kinetics_sounds_{part}.txt")):
                label = CLASSES[int(number)]
                total[label] += 1
                sources = sources_of(clip_name(name), sounds, frames, videos)
                missing[label] += not sources
                sources = sources or dict.fromkeys(("audio", "video"), Source(str(root / f"{name}.mp4")))
                rows.append(Row(name, label, sources, part))
        notes = [f"{len(videos)} videos, {len(sounds)} sounds, {len(frames)} folders of frames below {root}"]
        if missing.total():
            listed = ", ".join(f"{label} {n} of {total[label]}" for label, n in missing.items() if n)
            notes.append(f"{missing.total()} of {len(rows)} clips are missing: {listed}")
        recipes: dict[str, Recipe] = {"audio": options.audio(), "video": options.video()}
        return Manifest("kinetics_sounds", rows, recipes, CLASSES, notes=notes)


def _is_clip(name: str) -> bool:
    return re.fullmatch(r"[\w-]{11}(_\d+){0,2}", name) is not None


def clip_name(stem: str) -> str:
    """``ID_START`` of a clip's name in any of its spellings, ``ID`` where it has no time."""
    times = re.fullmatch(r"_(\d+)(_\d+)?", stem[ID:])
    return f"{stem[:ID]}_{int(times[1])}" if times else stem


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
    """The clip's own file, or its part of the whole video."""
    if clip in files:
        return Source(str(files[clip]))
    whole = files.get(clip[:ID])
    if whole is None:
        return None
    start = int(clip[ID + 1 :])
    try:
        long = whole.is_file() and duration(whole) > SECONDS + 1
    except Unusable:
        long = False
    return Source(str(whole), start=float(start), end=float(start + SECONDS)) if long else Source(str(whole))
