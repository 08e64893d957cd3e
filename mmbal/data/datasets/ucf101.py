"""UCF101: 13,320 clips of 101 actions; pictures with optical flow, or with the sound that half of the classes have.

Soomro, Zamir & Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild", 2012 (arXiv 1212.0402).
Below ``--root``: class folders of ``v_Class_g01_c01.avi`` and the lists ``trainlist01.txt`` and ``testlist01.txt``
(``--split 2`` and ``3`` for the others). Flow is taken where it has been computed: ``u/CLIP/*.jpg`` and ``v/CLIP/*.jpg``, or
``CLIP/flow_x_*.jpg`` and ``CLIP/flow_y_*.jpg``. Without flow the second modality is the sound, and ``--complete`` keeps the
51 classes that have some. Groups (clips cut from one video) are kept together where a split is carved.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from mmbal.data.datasets.base import Dataset, require_root
from mmbal.data.datasets.layout import AnyCase, by_stem, find_file, media_files
from mmbal.data.media.decode import VIDEO_SUFFIXES, walk
from mmbal.data.media.recipe import Recipe, Source
from mmbal.data.preparation.manifest import Manifest, Row
from mmbal.data.preparation.options import Options
from mmbal.errors import DataError, UsageError
from mmbal.predictions.tables import read_text
from mmbal.registry import datasets

# A line of a list: an index, folders, the clip, its suffix, and the number or name of its class. Mirrors differ in these.
LINE = re.compile(
    r"\s*(\d+[,;\t])?\"?(?P<folder>[^\",;]*/)?(?P<clip>v_(?P<name>\w+)_g\d+_c\d+)(\.\w+)?\"?([\s,;].*)?", re.IGNORECASE
)


@datasets.register(
    title="UCF101, actions", modalities=("video", "flow", "audio"), classes=101, licence="not stated", shipped=False
)
class UCF101(Dataset):
    choices = ("split",)
    defaults: ClassVar[dict[str, Any]] = {"split": "1", "duration": 5.0, "crop": (0.08, 1.0), "val": 0.15}

    def read(self, root: Path | None, options: Options) -> Manifest:
        root = require_root(root, "UCF101", "the class folders and trainlist01.txt, testlist01.txt")
        if options.split not in ("1", "2", "3"):
            raise UsageError(f"UCF101 has no split '{options.split}'.", "Known: 1, 2, 3.")
        videos = AnyCase(by_stem(media_files(root, VIDEO_SUFFIXES)))
        flow = AnyCase(_flow(root))
        samples, labels = [], set()
        for part in ("train", "test"):
            name = f"{part}list0{options.split}.txt"
            path = find_file(root, name)
            if path is None:
                raise UsageError(
                    f"{root} has no list {name}.", "It is in UCF101's TrainTestSplits-RecognitionTask archive."
                )
            for number, line in enumerate(filter(str.strip, read_text(path).splitlines())):
                found = LINE.fullmatch(line.replace("\\", "/"))
                if found is None and number == 0:
                    continue  # a header
                if found is None:
                    raise DataError(f"{path} has a line that is not Class/v_Class_g01_c01.avi: {line.strip()}.")
                clip, folder = found["clip"], (found["folder"] or "").rstrip("/")
                label = folder.rpartition("/")[2] or found["name"]
                video = Source(str(videos.find(clip, root / label / f"{clip}.avi")))
                second = {"flow": flow.find(clip, Source(str(root / "u" / clip)))} if flow else {"audio": video}
                labels.add(label)
                group = re.fullmatch(r"v_(.+_g\d+)_c\d+", clip)
                samples.append(Row(clip, label, {"video": video, **second}, part, group[1] if group else ""))
        recipes: dict[str, Recipe] = {"video": options.video()}
        recipes |= {"flow": options.flow()} if flow else {"audio": options.audio()}
        notes = [f"{len(videos)} videos, {len(flow)} clips with optical flow below {root}", f"list {options.split}"]
        return Manifest("ucf101", samples, recipes, tuple(sorted(labels)), notes=notes)


def _flow(root: Path) -> dict[str, Source]:
    """Clip -> its horizontal and vertical flow, in either layout."""
    found = {}
    for folder in (path for path in walk(root) if path.name.startswith("v_") and path.is_dir()):
        if folder.parent.name == "u":
            found[folder.name] = Source(str(folder), key=str(folder.parent.parent / "v" / folder.name))
        elif any(folder.glob("flow_x*")):
            found[folder.name] = Source(str(folder))
    return found
