"""Kinetics-Sounds: Kinetics-400 clips of 31 classes that can be seen and heard.

Arandjelovic & Zisserman, "Look, Listen and Learn", ICCV 2017 (arXiv 1705.08168), in the 14,799 / 2,597 lists of Peng et
al., CVPR 2022, shipped. The videos are on YouTube; those that are gone are missing from a user's copy,
and a note counts them.

Any layout below ``--root`` works: clips named ``ID_000010_000020``, ``ID_10`` or ``ID``, in folders by split or class or
none; sounds (``.wav``) and folders of frames under the same names are used where they are. A video of the bare ``ID``
that is longer than the clip is taken as the whole video, and cut. Sound as this field makes it: 10 s, Kaldi's filter
banks with 128 bins every 10 ms, 1,024 steps.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from mmbal import embedded
from mmbal.data.datasets.base import Dataset, require_root
from mmbal.data.datasets.layout import (
    YOUTUBE_DEFAULTS,
    by_stem,
    clip_name,
    has_pictures,
    is_youtube_clip,
    media_files,
    sources_of,
)
from mmbal.data.datasets.lists import read_list
from mmbal.data.media.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES, walk
from mmbal.data.media.recipe import Recipe, Source
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


@datasets.register(
    title="Kinetics-Sounds, actions", modalities=("audio", "video"), classes=31, licence="YouTube's", shipped=False
)
class KineticsSounds(Dataset):
    defaults: ClassVar[dict[str, Any]] = {**YOUTUBE_DEFAULTS, "val": 0.1}

    def read(self, root: Path | None, options: Options) -> Manifest:
        root = require_root(root, "Kinetics-Sounds", "the clips")
        videos = by_stem(media_files(root, VIDEO_SUFFIXES), clip_name)
        sounds = by_stem(media_files(root, AUDIO_SUFFIXES), clip_name)
        folders = (place for place in walk(root) if is_youtube_clip(place.name) and place.is_dir())
        frames = by_stem((folder for folder in folders if has_pictures(folder)), clip_name)
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
