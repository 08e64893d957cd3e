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
    by_stem,
    clip_name,
    find_file,
    media_files,
    read_list,
    sources_of,
)
from mmbal.data.media.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.manifest import Manifest, Row
from mmbal.data.preparation.options import Options
from mmbal.errors import UsageError
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
        for number, cells in enumerate(read_list(path), start=1):
            if number == 1 and len(cells) == 4 and not re.match(r"\d", cells[1]) and cells[3] not in ("train", "test"):
                continue  # some copies have a header
            if len(cells) != 4 or not re.fullmatch(r"\d+(\.0*)?", cells[1]) or cells[3] not in ("train", "test"):
                findings.append(Finding("error", "row", f"{path.name} line {number}", "not ID,start,label,split"))
                continue
            video, start, label, split = cells[0], int(float(cells[1])), *cells[2:]
            clip = f"{video}_{start}"
            sources = sources_of(clip, sounds, {}, videos)
            absent += not sources
            sources = sources or dict.fromkeys(("audio", "video"), Source(str(root / f"{video}_{start:06d}.mp4")))
            labels.add(label)
            samples.append(Row(clip, label, sources, split, line=number))
        notes = [
            f"{len(videos)} videos and {len(sounds)} sounds below {root}; {absent} of {len(samples)} clips are missing"
        ]
        recipes: dict[str, Recipe] = {"audio": options.audio(), "video": options.video()}
        return Manifest("vggsound", samples, recipes, tuple(sorted(labels)), findings, notes)
