"""VGGSound: 200,000 ten-second clips of 309 sounds whose source is seen.

Chen, Xie, Vedaldi & Zisserman, "VGGSound: A Large-scale Audio-Visual Dataset", ICASSP 2020 (arXiv 2004.14368; CC BY 4.0).
Below ``--root``: the list ``vggsound.csv`` (lines ``ID,start,label,split``, from the authors) and clips named
``ID_000010.mp4``, ``ID_10.mp4`` or ``ID_000010_000020.mp4``, sounds of the same name where they are apart.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from mmbal.data.datasets.base import Dataset, require_root
from mmbal.data.datasets.layout import (
    YOUTUBE_DEFAULTS,
    YOUTUBE_ID,
    by_stem,
    clip_name,
    find_file,
    media_files,
    sources_of,
)
from mmbal.data.datasets.lists import clip_of, numbered
from mmbal.data.media.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.manifest import Manifest, Row
from mmbal.data.preparation.options import Options
from mmbal.errors import UsageError
from mmbal.predictions.splits import ALIASES
from mmbal.registry import datasets


@datasets.register(
    title="VGGSound, sounds", modalities=("audio", "video"), classes=309, licence="CC BY 4.0", shipped=False
)
class VGGSound(Dataset):
    defaults: ClassVar[dict[str, Any]] = {**YOUTUBE_DEFAULTS, "val": 0.05}

    def read(self, root: Path | None, options: Options) -> Manifest:
        root = require_root(root, "VGGSound", "vggsound.csv and the clips")
        path = find_file(root, "vggsound.csv", "vggsound_final.csv")
        if path is None:
            raise UsageError(f"{root} has no list vggsound.csv.", "Get it from the authors' page and put it there.")
        videos = by_stem(media_files(root, VIDEO_SUFFIXES), clip_name)
        sounds = by_stem(media_files(root, AUDIO_SUFFIXES), clip_name)
        samples, labels, findings, absent = [], set(), [], 0
        for number, cells in numbered(path, 3):
            found = _line(cells)
            if found is None:
                findings.append(Finding("error", "row", f"{path.name} line {number}", "not ID,start,label,split"))
                continue
            clip, label, split = found
            sources = sources_of(clip, sounds, {}, videos)
            absent += not sources
            lacking = f"{clip[:YOUTUBE_ID]}_{clip[YOUTUBE_ID + 1 :]:0>6}.mp4"
            sources = sources or dict.fromkeys(("audio", "video"), Source(str(root / lacking)))
            labels.add(label)
            samples.append(Row(clip, label, sources, split, line=number))
        notes = [
            f"{len(videos)} videos and {len(sounds)} sounds below {root}; {absent} of {len(samples)} clips are missing"
        ]
        recipes: dict[str, Recipe] = {"audio": options.audio(), "video": options.video()}
        return Manifest("vggsound", samples, recipes, tuple(sorted(labels)), findings, notes)


def _line(cells: list[str]) -> tuple[str, str, str] | None:
    """Clip, label and split of ``ID,start,label,split``, or of ``ID_start,label,split`` as some copies have it."""
    name, *middle, label, split = cells if len(cells) > 2 else ("", "", "")
    video = clip_of(name)
    if middle and len(middle) == 1 and re.fullmatch(r"\d+(\.0*)?", middle[0]):
        clip = f"{video[:YOUTUBE_ID]}_{int(float(middle[0]))}"
    else:
        clip = "" if middle else clip_name(video)
    part = ALIASES.get(split.lower(), "")
    return (clip, label, part) if re.fullmatch(r".{11}_\d+", clip) and label and part else None
