"""Valid files with bytes or values changed, and arrays of wrong numbers: a sentence, or figures that hold; no traceback.

Files of every kind, stores, real checkpoints and run folders. What once failed is in ``corpus/`` and is tried again.
"""

from __future__ import annotations

import copy
import io
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from counting import count
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from mmbal.data.describe import describe_any
from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import load_model
from mmbal.engine.config import TrainConfig
from mmbal.engine.train import train
from mmbal.errors import MmbalError
from mmbal.file_kinds import kind_of_file
from mmbal.files import write_json, write_npz, write_tensors
from mmbal.predictions.format import Predictions
from mmbal.runs import find_predictions, open_store, read_config, read_metrics, read_summary

CORPUS = Path(__file__).parent / "corpus"
QUICK = 60  # cases of bytes, of values and of arrays each
PARTS, MANY = 10, 700  # parts of the long test, and cases of each sort in each
SECONDS = 60  # for one case
MEMORY = 2 << 20  # KiB that the cases of a part may need in all
CLIPS = {
    "a.avi": "mpeg4",
    "a.mkv": "mpeg4",
    "a.mp4": "mpeg4",
    "a.mov": "mjpeg",
    "a.flv": "flv",
    "a.webm": "libvpx",
    "a.ts": "mpeg2video",
}
SOUNDS = {"a.wav": "pcm_s16le", "a.mp3": "libmp3lame", "a.flac": "flac", "a.aiff": "pcm_s16be"}
PICTURES = ("a.png", "a.tif", "a.gif", "a.jpg", "a.webp", "a.bmp", "a.ppm")


def clip(path: Path) -> None:
    with av.open(str(path), "w") as box:
        if path.name in CLIPS:
            video = box.add_stream(CLIPS[path.name], rate=5)
            video.width = video.height = 16
            video.pix_fmt = "yuvj420p" if path.suffix == ".mov" else "yuv420p"
            for k in range(5):
                picture = np.full((16, 16, 3), 40 * k, np.uint8)
                box.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            box.mux(video.encode())
            return
        audio = box.add_stream(SOUNDS[path.name], rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.arange(3200, dtype=np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(audio.codec_context.format, "mono", 16000, audio.codec_context.frame_size or 800)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            box.mux(audio.encode(part))
        box.mux(audio.encode())


@pytest.fixture(scope="module")
def valid(tmp_path_factory, toy) -> dict[str, bytes]:
    """A small valid file of every kind, and the files of a store and of a run."""
    folder = tmp_path_factory.mktemp("valid")
    rng = np.random.default_rng(0)
    (folder / "m.csv").write_text("path,label,split,start\na.wav,x,train,0\na.wav,y,test,1\n")
    (folder / "m.jsonl").write_text('{"path": "a.wav", "label": "x"}\n{"path": "b.wav", "label": "y"}\n')
    (folder / "s.csv").write_text("label,m:x,m:y\n" + "".join(f"{'xy'[k % 2]},{k / 7:.3f},{k % 3}\n" for k in range(9)))
    (folder / "c.yaml").write_text("data: stores/x\nmethod: {name: joint}\nepochs: 3\nlist: [1, 2]\n")
    labels = np.arange(24) % 3
    logits = {"logits_a": rng.normal(size=(24, 3)), "logits_b": rng.normal(size=(24, 3))}
    write_npz(folder / "p.npz", {"labels": labels, **logits})
    write_npz(folder / "f.npz", {"label": labels, "a": rng.normal(size=(24, 4)), "b": rng.normal(size=(24, 2))})
    np.save(folder / "a.npy", rng.normal(size=(4, 3)))
    write_json(folder / "r.json", {"format": "mmbal.rule", "name": "sum", "version": 1})
    write_tensors(folder / "w.pt", {"model": {"a": 1.0}, "epoch": 3})
    picture = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8))
    for name in PICTURES:
        picture.save(folder / name, **({"save_all": True, "append_images": [picture]} if name == "a.gif" else {}))
    for name in (*CLIPS, *SOUNDS):
        clip(folder / name)
    store = toy({"a": 3, "b": 2}, rows=40).path
    run = train(TrainConfig(data=str(store), epochs=1, batch_size=16, device="cpu"), out=folder / "run").folder
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    for name, root in (("store", store), ("run", run)):
        files = (file for file in root.rglob("*") if file.is_file() and file.suffix in WITHIN)
        found |= {f"{name}/{file.relative_to(root)}": file.read_bytes() for file in files}
    return found


WITHIN = (".json", ".jsonl", ".npz", ".npy", ".yaml", ".pt")  # files of a store or a run that are read again


def holds(path: Path) -> None:
    """A description, with a problem in a sentence or without; an MmbalError says the same."""
    try:
        found = describe_any(path)
    except MmbalError:
        return
    assert found.kind
    json.dumps(found.to_dict())
    if path.is_file() and kind_of_file(path).name == "zip" and "predictions" in found.kind and not found.problem:
        plausible(lambda: Predictions.load(path))


def store_holds(path: Path) -> None:
    """A store is opened, counted, verified and read, or refused; one whose hash is right is as it was."""
    with suppress(MmbalError):
        store = Store.open(path)
        assert sum(store.splits().values()) == len(store)
        store.counts()
        store.verify()
        for array in store.arrays.values():
            np.asarray(array[:2])


def run_holds(path: Path) -> None:
    """All that other commands read of a run, each on its own."""
    for read in (read_config, read_metrics, read_summary, open_store, load_model):
        with suppress(MmbalError):
            read(path)
    with suppress(MmbalError):
        plausible(lambda: find_predictions(path))


def all_hold(folder: Path, name: str) -> None:
    """What reads the file ``name`` below ``folder``."""
    root = name.partition("/")[0]
    with bounded():
        holds(folder / root)
        if root == "store":
            store_holds(folder / root)
        elif root == "run":
            run_holds(folder / root)


@contextmanager
def bounded() -> Iterator[None]:
    """An alarm ends a case that hangs."""

    def late(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def plausible(read: Callable[[], Predictions]) -> None:
    """Predictions that were read have finite scores and labels among the classes."""
    found = read()
    assert set(found.labels.tolist()) <= set(range(len(found.classes)))
    assert all(np.isfinite(scores).all() for scores in found.logits.values())


PLACES = st.integers(0, 128) | st.integers(0, 1 << 16)  # many in the header
CHANGES = st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


def changed(data: bytes, changes: list[tuple[int, bytes]], cut: int | None) -> bytes:
    out = bytearray(data)
    for place, new in changes:
        place %= len(out)
        out[place : place + len(new)] = new
    return bytes(out if cut is None else out[: cut % len(out)])


STRANGE = st.sampled_from(
    [None, -1, 0, 1e99, 2**70, "", "x" * 300, [], {}, [[1]], True, float("nan"), "../../x", "[/]"]
)


def replaced(document: Any, place: int, value: Any) -> Any:
    """The document with one of its values, whole parts included, replaced by another."""
    document = copy.deepcopy(document)
    spots: list[tuple[Any, Any]] = []
    todo = [document]
    while todo:
        part = todo.pop()
        for key in part if isinstance(part, dict) else range(len(part)):
            spots.append((part, key))
            if isinstance(part[key], (dict, list)):
                todo.append(part[key])
    part, key = spots[place % len(spots)]
    part[key] = value
    return document


def with_value(data: bytes, name: str, place: int, value: Any) -> bytes:
    """A JSON document or a checkpoint with one value replaced."""
    if name.endswith(".pt"):
        content = torch.load(io.BytesIO(data), weights_only=True)
        stream = io.BytesIO()
        torch.save(replaced(content, place, value), stream)
        return stream.getvalue()
    return json.dumps(replaced(json.loads(data), place, value)).encode()


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


def fuzz(valid: dict[str, bytes], folder: Path, part: int, examples: int) -> None:
    """``examples`` cases each of changed bytes, of replaced values and of wrong arrays; the same for the same ``part``."""
    for name, data in valid.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    documents = [name for name in valid if name.endswith((".json", ".pt"))]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))

    def tried(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        try:
            all_hold(folder, name)
        finally:
            (folder / name).write_bytes(valid[name])
        count("fuzz cases")

    @many
    @seed(part)
    @given(st.sampled_from(sorted(valid)), CHANGES, st.none() | st.integers(1, 1 << 16))
    def with_other_bytes(name, changes, cut):
        tried(name, changed(valid[name], changes, cut))

    @many
    @seed(part)
    @given(st.sampled_from(documents), st.integers(0, 1 << 16), STRANGE)
    def with_another_value(name, place, value):
        tried(name, with_value(valid[name], name, place, value))

    @many
    @seed(part)
    @given(WRONG)
    def with_wrong_arrays(arrays):
        with suppress(MmbalError), bounded():
            plausible(lambda: Predictions.from_arrays(arrays, examine=True))
        count("fuzz cases")

    with_other_bytes()
    with_another_value()
    with_wrong_arrays()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


def test_changed_bytes_and_values_and_wrong_arrays(valid, tmp_path):
    fuzz(valid, tmp_path, 0, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_very_many_changed_bytes_and_values_and_wrong_arrays(valid, tmp_path, part):
    fuzz(valid, tmp_path, part, MANY)


@pytest.mark.parametrize("file", sorted(file.name for file in CORPUS.iterdir() if not file.name.startswith(".")))
def test_what_once_failed(file):
    holds(CORPUS / file)


def test_a_member_of_an_archive_that_is_no_array(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, labels=np.arange(3))
    (tmp_path / "a.npz").write_bytes(stream.getvalue().replace(b"\x93NUMPY", b"\x93NUMPX"))
    assert describe_any(tmp_path / "a.npz").problem


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("store/meta.json", "modalities", ""),
        ("store/meta.json", "classes", [[1]]),
        ("store/meta.json", "files", "[/]"),
        ("store/meta.json", "findings", [3]),
        ("run/env.json", "store", [[1]]),
        ("run/env.json", "store", {"path": "x" * 300, "hash": ""}),
    ],
)
def test_values_that_once_failed(valid, tmp_path, file, key, value):
    for name, data in valid.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / file).write_text(json.dumps(json.loads(valid[file]) | {key: value}))
    all_hold(tmp_path, file)


def test_a_store_whose_array_has_a_damaged_header(valid, tmp_path):
    for name in ("store/meta.json", "store/rows.npz", "store/a.npy", "store/b.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(valid[name])
    (tmp_path / "store" / "a.npy").write_bytes(valid["store/a.npy"].replace(b"'shape': (", b"'shape': [("))
    with pytest.raises(MmbalError, match=r"damaged store \(a\.npy"):
        Store.open(tmp_path / "store")
