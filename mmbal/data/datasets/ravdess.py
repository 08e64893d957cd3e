"""RAVDESS: 24 actors speaking and singing two sentences in 8 emotions.

Livingstone & Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song", PLoS ONE 2018 (CC BY-NC-SA 4.0),
zenodo.org/records/1188976. Everything is in the file's name: modality, speech or song, emotion, intensity, sentence,
repetition, actor. Splits are carved by actor, so no actor is in two.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from mmbal.data.datasets.base import Dataset, require_root
from mmbal.data.datasets.layout import media_files
from mmbal.data.media.recipe import Source
from mmbal.data.preparation.manifest import Manifest, Row
from mmbal.data.preparation.options import Options
from mmbal.errors import UsageError
from mmbal.registry import datasets

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SUNG = EMOTIONS[:6]
CHANNELS = {"speech": ("01",), "song": ("02",), "both": ("01", "02")}
BOTH, SEEN, HEARD = "01", "02", "03"


@datasets.register(
    title="RAVDESS, emotions", modalities=("audio", "video"), classes=8, licence="CC BY-NC-SA 4.0", shipped=False
)
class RAVDESS(Dataset):
    choices = ("subset",)
    defaults: ClassVar[dict[str, Any]] = {"subset": "speech", "duration": 4.0, "val": 0.15}

    def read(self, root: Path | None, options: Options) -> Manifest:
        root = require_root(root, "RAVDESS", "the folders Actor_01 to Actor_24")
        if options.subset not in CHANNELS:
            raise UsageError(f"RAVDESS has no part '{options.subset}'.", f"Known: {', '.join(CHANNELS)}.")
        files: dict[str, dict[str, Path]] = {}
        for path in media_files(root):
            if re.fullmatch(r"0[123]-0[12]-0[1-8]-0[12]-0[12]-0[12]-\d\d", path.stem):
                files.setdefault(path.stem[3:], {}).setdefault(path.stem[:2], path)
        samples = []
        for clip, found in sorted(files.items()):
            channel, emotion, *_, actor = clip.split("-")
            if channel not in CHANNELS[options.subset]:
                continue
            heard, seen = found.get(HEARD, found.get(BOTH)), found.get(BOTH, found.get(SEEN))
            sources = {m: Source(str(p)) for m, p in (("audio", heard), ("video", seen)) if p is not None}
            samples.append(Row(clip, EMOTIONS[int(emotion) - 1], sources, "", actor))
        if not samples:
            raise UsageError(
                f"{root} has no RAVDESS file ({options.subset}).", "Names are like Actor_12/03-01-06-01-02-01-12.wav."
            )
        recipes = {"audio": options.audio(), "video": options.video(options.duration)}
        having = {m for row in samples for m in row.sources}
        return Manifest(
            "ravdess",
            samples,
            {m: recipe for m, recipe in recipes.items() if m in having},
            SUNG if options.subset == "song" else EMOTIONS,
            notes=[f"{len(samples)} clips ({options.subset}) of {len({row.group for row in samples})} actors"],
        )
