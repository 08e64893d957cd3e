"""Valid files with bytes changed, and arrays of plausible but wrong numbers: a sentence, or figures that hold; no traceback.

What once failed is in ``corpus/`` and is tried again in the short suite.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmbal.data.describe import describe_any
from mmbal.errors import MmbalError
from mmbal.file_kinds import kind_of_file
from mmbal.files import write_json, write_npz, write_tensors
from mmbal.predictions.format import Predictions

CORPUS = Path(__file__).parent / "corpus"
QUICK, MANY = 120, 20_000  # files that are tried
KINDS = [
    "m.csv",
    "m.jsonl",
    "c.yaml",
    "p.npz",
    "f.npz",
    "r.json",
    "w.pt",
    "a.png",
    "a.tif",
    "a.gif",
    "a.wav",
    "a.avi",
    "a.mkv",
]


def clip(path: Path) -> None:
    with av.open(str(path), "w") as box:
        if path.suffix != ".wav":
            video = box.add_stream("mpeg4", rate=5)
            video.width = video.height = 16
            for k in range(5):
                box.mux(
                    video.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), 40 * k, np.uint8), format="rgb24"))
                )
            box.mux(video.encode())
        else:
            audio = box.add_stream("pcm_s16le", rate=8000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.arange(800, dtype=np.int16)[None], format="s16", layout="mono")
            frame.sample_rate = 8000
            box.mux(audio.encode(frame))


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> dict[str, bytes]:
    """A small valid file of every kind."""
    folder = tmp_path_factory.mktemp("valid")
    rng = np.random.default_rng(0)
    (folder / "m.csv").write_text("path,label,split,start\na.wav,x,train,0\na.wav,y,test,1\n")
    (folder / "m.jsonl").write_text('{"path": "a.wav", "label": "x"}\n{"path": "b.wav", "label": "y"}\n')
    (folder / "c.yaml").write_text("data: stores/x\nmethod: {name: joint}\nepochs: 3\nlist: [1, 2]\n")
    labels = np.arange(24) % 3
    write_npz(
        folder / "p.npz", {"labels": labels, "logits_a": rng.normal(size=(24, 3)), "logits_b": rng.normal(size=(24, 3))}
    )
    write_npz(folder / "f.npz", {"label": labels, "a": rng.normal(size=(24, 4)), "b": rng.normal(size=(24, 2))})
    write_json(folder / "r.json", {"format": "mmbal.rule", "name": "sum", "version": 1})
    write_tensors(folder / "w.pt", {"model": {"a": 1.0}, "epoch": 3})
    picture = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
    picture.save(folder / "a.png")
    picture.save(folder / "a.tif")
    picture.save(folder / "a.gif", save_all=True, append_images=[picture])
    for name in ("a.wav", "a.avi", "a.mkv"):
        clip(folder / name)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def holds(path: Path) -> None:
    """A description, with a problem in a sentence or without; an MmbalError says the same."""
    try:
        found = describe_any(path)
    except MmbalError:
        return
    assert found.kind
    json.dumps(found.to_dict())
    if kind_of_file(path).name == "zip" and "predictions" in found.kind and not found.problem:
        plausible(lambda: Predictions.load(path))


def plausible(read: Callable[[], Predictions]) -> None:
    """Predictions that were read have finite scores and labels among the classes."""
    found = read()
    assert set(found.labels.tolist()) <= set(range(len(found.classes)))
    assert all(np.isfinite(scores).all() for scores in found.logits.values())


CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


def changed(data: bytes, changes: list[tuple[int, bytes]], cut: int | None) -> bytes:
    out = bytearray(data)
    for place, new in changes:
        place %= len(out)
        out[place : place + len(new)] = new
    return bytes(out if cut is None else out[: cut % len(out)])


def fuzz(valid: dict[str, bytes], folder: Path, examples: int) -> int:
    tried = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples == QUICK,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(KINDS), CHANGES, st.none() | st.integers(1, 1 << 16))
    def damaged(kind, changes, cut):
        nonlocal tried
        (folder / kind).write_bytes(changed(valid[kind], changes, cut))
        holds(folder / kind)
        tried += 1

    damaged()
    return tried


NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 0.5, 100.0, 1e-9, 1e9, 3e38, np.nan, np.inf, -np.inf])
TABLES = st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=4, max_size=4)
LABELS = st.lists(st.sampled_from([0, 1, 2, 3, -1, 0.5, np.nan, "0", "x", "", True]), min_size=4, max_size=4)
WRONG = st.fixed_dictionaries(
    {"labels": LABELS, "logits_a": TABLES},
    optional={
        "logits_b": TABLES,
        "fused": TABLES,
        "probabilities_c": TABLES,
        "present_a": LABELS,
        "split": st.lists(st.sampled_from(["val", "test", "", "x"]), min_size=4, max_size=4),
        "classes": st.lists(st.text(max_size=2), min_size=2, max_size=4),
    },
)


def numbers(examples: int) -> int:
    tried = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples == QUICK,
        suppress_health_check=list(HealthCheck),
    )
    @given(WRONG)
    def arrays(given_arrays):
        nonlocal tried
        tried += 1
        with suppress(MmbalError):
            plausible(lambda: Predictions.from_arrays(given_arrays, examine=True))

    arrays()
    return tried


def test_files_with_changed_bytes_and_wrong_numbers(valid, tmp_path):
    assert fuzz(valid, tmp_path, QUICK) >= QUICK
    assert numbers(QUICK) >= QUICK


@pytest.mark.long
def test_very_many_files_with_changed_bytes_and_wrong_numbers(valid, tmp_path):
    print(f"count fuzz cases: {fuzz(valid, tmp_path, MANY) + numbers(MANY)}")


@pytest.mark.parametrize("file", sorted(file.name for file in CORPUS.iterdir() if not file.name.startswith(".")))
def test_what_once_failed(file):
    holds(CORPUS / file)


def test_a_member_of_an_archive_that_is_no_array(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, labels=np.arange(3))
    (tmp_path / "a.npz").write_bytes(stream.getvalue().replace(b"\x93NUMPY", b"\x93NUMPX"))
    assert describe_any(tmp_path / "a.npz").problem
