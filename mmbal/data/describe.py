"""Describes any file or folder that mmbal reads: media, manifests, features, stores, runs, checkpoints, rules."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.data.media.decode import AUDIO_SUFFIXES, PICTURE_SUFFIXES, VIDEO_SUFFIXES, Unusable
from mmbal.errors import MmbalError, UsageError
from mmbal.file_kinds import kind_of_file
from mmbal.files import read_json, read_tensors
from mmbal.predictions.describe import FEW, Description, Part, describe

HEARD = 30.0  # seconds of sound that are listened to
SEEN = 3  # frames that are looked at
SIZE = 64  # pixels of their side


def describe_any(path: str | Path) -> Description:
    """What a file or folder holds, and what looks wrong; raises UsageError where there is nothing."""
    path = Path(path)
    if path.is_dir():
        return _checked(path, "a folder", _folder)
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", "`mmbal doctor` without a file looks at this machine.")
    suffix = path.suffix.lower()
    if suffix in (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES, ".gif"):
        return _checked(path, "a clip", _clip)
    if suffix in PICTURE_SUFFIXES:
        return _checked(path, "a picture", _picture)
    name = kind_of_file(path).name
    for known, what, look in (
        (name == "mat", "a MATLAB file of features", _features),
        (name == "checkpoint", "a checkpoint", _checkpoint),
        (name == "npy", "a single array", _array),
        (name in ("rule", "diagnosis"), kind_of_file(path).what, _document),
        (suffix in (".json", ".jsonl", ".ndjson"), "a manifest", _manifest),
        (suffix in (".yaml", ".yml"), "a configuration", _configuration),
        (suffix == ".txt" and name != "table", "a text", _text),
    ):
        if known:
            return _checked(path, what, look)
    return describe(path)


def _checked(path: Path, what: str, look: Callable[[Path], tuple[str, list[Part], list[str]]]) -> Description:
    """What ``look`` finds (the kind, the parts, the remarks), or the reason why the file can't be used."""
    try:
        return Description(str(path), *look(path))
    except Unusable as error:
        return Description(str(path), what, [], [], f"{path}: {error.reason}.")
    except MmbalError as error:
        return Description(str(path), what, [], [], error.message, error.hint)


def _clip(path: Path) -> tuple[str, list[Part], list[str]]:
    from mmbal.data.media.container import Clip
    from mmbal.data.media.frames import read_frames
    from mmbal.data.media.sound import read_audio

    parts, remarks = [], []
    with Clip(path) as clip:
        kind = f"a clip ({clip.container.format.name})"
        for stream in clip.container.streams:
            coder = stream.codec_context
            size = f"{coder.width} x {coder.height}" if stream.type == "video" and coder else ""
            rate = f"{coder.sample_rate} Hz, {coder.layout.name}" if stream.type == "audio" and coder else ""
            taken = "taken" if stream in clip.taken.values() else "not used"
            parts.append(Part(f"{stream.type} {stream.index}", coder.name if coder else "unknown", size or rate, taken))
        if clip.taken["video"] is not None:
            seen = read_frames(clip, SEEN, SIZE)
            remarks += [reason for _, reason in [*seen.remarks, *seen.notes]]
    if any(part.name.startswith("audio") for part in parts):
        heard, _ = read_audio(path, most=HEARD)
        remarks += [reason for _, reason in [*heard.remarks, *heard.notes]]
        if not heard.array.any():
            remarks.append("the sound is silent")
    return kind, parts, remarks


def _picture(path: Path) -> tuple[str, list[Part], list[str]]:
    from PIL import Image

    from mmbal.data.media.pictures import read_picture

    found = read_picture(path, SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow has to say of a file's tags is no finding
        picture = Image.open(path)
    with picture:
        part = Part(path.name, picture.mode, f"{picture.width} x {picture.height}", f"a picture ({picture.format})")
    return "a picture", [part], [reason for _, reason in [*found.remarks, *found.notes]]


def _text(path: Path) -> tuple[str, list[Part], list[str]]:
    from mmbal.data.media.recipe_text import read_text, words

    text, notes = read_text(path)
    found = words(text)
    return "a text", [Part("text", "words", str(len(found)), " ".join(found[:FEW]))], [reason for _, reason in notes]


def _features(path: Path) -> tuple[str, list[Part], list[str]]:
    from mmbal.data.preparation.features import read_features
    from mmbal.data.preparation.options import Options

    found = read_features(path, Options())
    parts = [
        Part(m, str(a.dtype), " x ".join(map(str, a.shape)), f"{found.kinds[m]} of {m}")
        for m, a in found.arrays.items()
    ]
    return "a feature file", parts, [f.reason for f in found.findings]


def _manifest(path: Path) -> tuple[str, list[Part], list[str]]:
    from mmbal.data.preparation.manifest import read_manifest
    from mmbal.data.preparation.options import Options

    found = read_manifest(path, Options())
    names = list(dict.fromkeys(m for row in found.rows for m in row.sources))
    parts = [Part(m, "source", str(sum(m in row.sources for row in found.rows)), f"where {m} lies") for m in names]
    return (
        f"a manifest, {len(found.rows)} rows",
        parts,
        [*(f"{f.where}: {f.reason}" for f in found.findings), *found.notes],
    )


def _array(path: Path) -> tuple[str, list[Part], list[str]]:
    from mmbal.data.media.recipe_feature import read_array

    array = read_array(path)
    odd = 0 if array.dtype.kind != "f" else int((~np.isfinite(array)).sum())
    part = Part(path.name, str(array.dtype), " x ".join(map(str, array.shape)), "features of one sample")
    return "a single array", [part], [f"{odd} entries are NaN or infinite"] if odd else []


def _checkpoint(path: Path) -> tuple[str, list[Part], list[str]]:
    found = read_tensors(path)
    entries = found.items() if isinstance(found, dict) else [("content", found)]
    return "a checkpoint", [Part(str(key), *_value(value)) for key, value in entries], []


def _value(value: Any) -> tuple[str, str, str]:
    """Type, size and look of an entry of a checkpoint or a document."""
    if hasattr(value, "shape"):
        return str(value.dtype), " x ".join(map(str, value.shape)), "tensor"
    if isinstance(value, (dict, list, tuple)):
        return type(value).__name__, f"{len(value)} entries", ", ".join(map(str, list(value)[:FEW]))
    return type(value).__name__, "", str(value)[:60]


def _document(path: Path) -> tuple[str, list[Part], list[str]]:
    found = read_json(path)
    return kind_of_file(path).what, [Part(str(key), *_value(value)) for key, value in found.items()], []


def _configuration(path: Path) -> tuple[str, list[Part], list[str]]:
    from mmbal.config import read_yaml

    return "a configuration", [Part(str(key), *_value(value)) for key, value in read_yaml(path).items()], []


def _folder(path: Path) -> tuple[str, list[Part], list[str]]:
    from mmbal.data.media.pictures import picture_files
    from mmbal.data.store.store import Store

    if (path / "meta.json").is_file():
        store = Store.open(path)
        kept = {m: how["codec"] for m, how in store.meta.get("compressed", {}).items()}
        parts = [
            Part(
                m,
                kept.get(m, str(array.dtype)),
                " x ".join(map(str, array.shape)),
                f"{store.modalities[m].kind} of {m}",
            )
            for m, array in store.arrays.items()
        ]
        told = [f"{f['where']}: {f['reason']}" for f in store.meta.get("findings", []) if f["level"] != "note"]
        return f"a store, {len(store)} samples of {len(store.classes)} classes", parts, told
    if (path / "config.yaml").is_file():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        sizes = [Part(str(file.relative_to(path)), file.suffix, f"{file.stat().st_size} bytes", "") for file in files]
        return (
            "a run",
            sizes,
            [] if (path / "checkpoint.pt").is_file() else ["it has no checkpoint.pt: it has not ended"],
        )
    files, remarks = picture_files(path)
    if not files:
        raise UsageError(f"{path} is neither a store, nor a run, nor a folder of pictures.")
    return "a folder of frames", [Part("frames", "pictures", str(len(files)), files[0].name)], [r for _, r in remarks]
