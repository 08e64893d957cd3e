"""CREMA-D: 7,442 clips of 91 actors saying 12 sentences in 6 emotions.

Cao, Cooper, Keutmann, Gur, Nenkova & Verma, "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset", IEEE
Transactions on Affective Computing 2014. Media: github.com/CheyneyComputerScience/CREMA-D (ODbL 1.0).

Splits: ``folder`` (lists found beside the media), ``ogm_ge`` (the 6,698 / 744 clips of Peng et al., CVPR 2022, which most
papers use: at random, so every actor is in train and test), ``actor`` (no actor in two splits).
Sound as this field makes it: 3 s at 22,050 Hz, repeated where shorter, log spectrogram of 512-sample windows, 257 x 188.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from mmbal import embedded
from mmbal.data.datasets.base import Dataset, require_root
from mmbal.data.datasets.layout import AnyCase, by_stem, find_file, find_folders, media_files, pointers
from mmbal.data.datasets.lists import clip_of, read_list
from mmbal.data.media.decode import AUDIO_SUFFIXES, VIDEO_SUFFIXES, is_beside
from mmbal.data.media.recipe import Source
from mmbal.data.preparation.download import Item, download
from mmbal.data.preparation.findings import Finding, Progress
from mmbal.data.preparation.manifest import Manifest, Row
from mmbal.data.preparation.options import Options
from mmbal.data.store.normalisation import PRESETS
from mmbal.errors import DataError, UsageError
from mmbal.files import read_npz, sha256
from mmbal.predictions.tables import read_table
from mmbal.registry import datasets

URL = "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master/"
SPLITS = ("folder", "ogm_ge", "actor")


@datasets.register(
    title="CREMA-D, emotions", modalities=("audio", "video"), classes=6, licence="ODbL 1.0", shipped=False
)
class CREMAD(Dataset):
    choices = ("split",)
    defaults: ClassVar[dict[str, Any]] = {**PRESETS["ogm_ge"].options, "val": 0.1}

    def read(self, root: Path | None, options: Options) -> Manifest:
        root = _root(root)
        sound, heard = _sound(root)
        seen_folder, seen = _pictures(root, options.fps)
        split_name, rows, classes, where = _lists(root, options.split)
        notes = [f"sound from {sound}", f"pictures from {seen_folder}", f"split '{split_name}' from {where}"]
        for files in (list(heard.values()), [path for path in seen.values() if path.is_file()]):
            if some := pointers(files):
                notes.append(f"{some} of the files looked at are Git LFS pointers: git lfs pull, or --download")
        samples, people = [], _actors()
        for clip, label, part in rows:
            sources = {
                "audio": Source(str(heard.find(clip, sound / f"{clip}.wav"))),
                "video": Source(str(seen.find(clip, seen_folder / clip))),
            }
            actor = clip.partition("_")[0] if re.match(r"\d{4}_", clip) else ""
            person = {name.lower(): people.get(actor, {}).get(name, "") for name in ("Sex", "Age")}
            samples.append(Row(clip, label, sources, part, actor, segments=person))
        return Manifest(
            "cremad",
            samples,
            {"audio": options.audio(), "video": options.video(options.duration)},
            classes,
            notes=notes,
            known_leak="the list is random over actors; --split actor keeps them apart"
            if split_name == "ogm_ge"
            else "",
            meta={"split": split_name, "groups": people},
        )

    def check(self, root: Path | None, progress: Progress | None = None) -> list[Finding]:
        root, table = _root(root), _table()
        homes = {name: (find_folders(root, name) or [root / name])[0] for name in ("AudioWAV", "VideoFlash")}
        findings = []

        def compare(item: Item) -> Finding | None:
            kind, _, name = item.path.partition("/")
            path = homes[kind] / name
            if not path.is_file():
                return None  # reading says what is missing
            if path.stat().st_size != item.bytes:
                return Finding(
                    "error", "changed", str(path), f"{path.stat().st_size} bytes, published with {item.bytes}"
                )
            if sha256(path) != item.sha256:
                return Finding("error", "changed", str(path), "its SHA-256 is not the published one")
            return None

        with ThreadPoolExecutor() as pool:
            for finding in pool.map(compare, table):
                if progress:
                    progress(1, len(table), "files")
                if finding:
                    findings.append(finding)
        return findings

    def download(self, root: Path, *, url: str | None = None, progress: Progress | None = None) -> list[Finding]:
        return download(_table(), root, url or URL, progress=progress)


def _root(root: Path | None) -> Path:
    return require_root(root, "CREMA-D", "AudioWAV and VideoFlash (or Image-XX-FPS)")


def _actors() -> dict[str, dict[str, str]]:
    """Actor -> age, sex, race and ethnicity, so that a store can be looked at by them."""
    table = read_table(embedded.path("cremad_demographics.csv"))
    return {actor: dict(zip(table.header[1:], cells, strict=True)) for actor, *cells in table.rows}


def _table() -> list[Item]:
    """Path, size and hash of all 14,884 media, as the repository's LFS pointers state them."""
    table = read_npz(embedded.path("cremad_media.npz"))
    return [
        Item(str(path), int(size), bytes(digest).hex())
        for path, size, digest in zip(table["path"], table["bytes"], table["sha256"], strict=True)
    ]


def _sound(root: Path) -> tuple[Path, AnyCase[Path]]:
    for name in ("AudioWAV", "AudioMP3", "audio|wav"):
        for folder in find_folders(root, name):
            return folder, AnyCase(by_stem(media_files(folder, AUDIO_SUFFIXES)))
    raise UsageError(f"{root} has no folder AudioWAV.", "--root is the folder that holds AudioWAV, or one above it.")


def _pictures(root: Path, fps: float | None) -> tuple[Path, AnyCase[Path]]:
    """The folder of videos, or that of frames at the rate asked for (else at the highest), and each clip's place."""
    for folder in find_folders(root, "VideoFlash|VideoMP4|video"):
        return folder, AnyCase(by_stem(media_files(folder, VIDEO_SUFFIXES)))
    rates = {int(found[0]): f for f in find_folders(root, r"Image-\d+-FPS.*") if (found := re.findall(r"\d+", f.name))}
    if not rates:
        raise UsageError(
            f"{root} has neither VideoFlash nor Image-XX-FPS.", "--root is the folder that holds one of them."
        )
    if fps is not None and fps not in rates:
        have = ", ".join(str(rate) for rate in sorted(rates))
        raise UsageError(
            f"{root} has no frames at {fps:g} a second (it has: {have}).",
            "Leave --fps out, or give --root with videos.",
        )
    folder = rates[max(rates) if fps is None else int(fps)]
    clips = (clip for clip in sorted(folder.iterdir()) if clip.is_dir() and not is_beside(clip.name))
    return folder, AnyCase({clip.name: clip for clip in clips})


def _lists(root: Path, asked: str | None) -> tuple[str, list[tuple[str, str, str]], tuple[str, ...], str]:
    """Name of the split, (clip, label, split) of each sample, the classes in order, and where they come from."""
    if asked is not None and asked not in SPLITS:
        raise UsageError(f"CREMA-D has no split '{asked}'.", f"Known: {', '.join(SPLITS)}.")
    train, test = find_file(root, "train.csv"), find_file(root, "test.csv")
    own = train is not None and test is not None
    if asked == "folder" and not own:
        raise UsageError(f"{root} has no lists train.csv and test.csv.", "Use --split ogm_ge or actor.")
    shipped = {part: read_list(embedded.path(f"cremad_{part}.csv"), 2) for part in ("train", "test")}
    order = [cells[0] for cells in read_list(embedded.path("cremad_stat.csv"))]
    name, lists, where = asked or "ogm_ge", shipped, "the lists shipped with mmbal"
    if own and asked in (None, "folder") and train and test:
        given = {
            part: [[clip_of(c), *rest] for c, *rest in read_list(p, 2)]
            for part, p in (("train", train), ("test", test))
        }
        if given != shipped:
            stat = find_file(train.parent, "stat.csv")
            order = [cells[0] for cells in read_list(stat)] if stat else []
            name, lists = "folder", given
        where = f"{train} and {test.name}" + ("" if name == "folder" else ", the same as those shipped with mmbal")
    rows = []
    for part, cells_of in lists.items():
        for cells in cells_of:
            if len(cells) < 2 or not all(cells[:2]):
                raise DataError(f"The {part} list ({where}) has a line that is not CLIP,LABEL: {','.join(cells)}.")
            rows.append((cells[0], cells[1], "" if asked == "actor" else part))
    labels = {label for _, label, _ in rows}
    return name, rows, (*order, *sorted(labels - set(order))), where
