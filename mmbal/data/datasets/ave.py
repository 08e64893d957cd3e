"""AVE: 4,143 ten-second clips of 28 audio-visual events.

Tian, Shi, Li, Duan & Xu, "Audio-Visual Event Localization in Unconstrained Videos", ECCV 2018 (arXiv 1803.08842).
Below ``--root``: the folder ``AVE`` of ``ID.mp4`` and the lists ``trainSet.txt``, ``valSet.txt``, ``testSet.txt`` with lines
``Class&ID&quality&start&end``. The whole clip is used, as classification on this set does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mmbal.data.datasets.base import Dataset, require_root
from mmbal.data.datasets.layout import by_stem, find_file, media_files
from mmbal.data.datasets.lists import clip_of, read_list
from mmbal.data.media.decode import VIDEO_SUFFIXES
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.preparation.manifest import Manifest, Row
from mmbal.data.preparation.options import Options
from mmbal.errors import DataError, UsageError
from mmbal.registry import datasets

LISTS = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}


@datasets.register(title="AVE, events", modalities=("audio", "video"), classes=28, licence="YouTube's", shipped=False)
class AVE(Dataset):
    defaults: ClassVar[dict[str, Any]] = {"duration": 10.0, "fps": 1.0, "keep": 10, "crop": (0.08, 1.0)}

    def read(self, root: Path | None, options: Options) -> Manifest:
        root = require_root(root, "AVE", "the clips and trainSet.txt, valSet.txt, testSet.txt")
        videos = by_stem(media_files(root, VIDEO_SUFFIXES))
        samples, labels = [], set()
        for split, name in LISTS.items():
            path = find_file(root, name)
            if path is None:
                raise UsageError(f"{root} has no list {name}.", "It comes with the data set, beside Annotations.txt.")
            for cells in read_list(path, 5, "&\t;|,"):
                if len(cells) < 5:
                    raise DataError(f"{path} has a line that is not Class&ID&quality&start&end: {'&'.join(cells)}.")
                label, clip = cells[0], clip_of(cells[1])
                source = Source(str(videos.get(clip, root / "AVE" / f"{clip}.mp4")))
                labels.add(label)
                samples.append(Row(clip, label, {"audio": source, "video": source}, split))
        recipes: dict[str, Recipe] = {"audio": options.audio(), "video": options.video()}
        return Manifest("ave", samples, recipes, tuple(sorted(labels)), notes=[f"{len(videos)} videos below {root}"])
