import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mmbal.config import validate
from mmbal.data.preparation.manifest import read_manifest
from mmbal.data.preparation.options import Options
from mmbal.data.preparation.probing import recipes_for
from mmbal.data.preparation.workers import cores, encode_rows, granted
from mmbal.data.prepare import embedded_store, prepare
from mmbal.data.store.moments import chunks, moments
from mmbal.data.store.store import Store, latest_store
from mmbal.errors import DataError, UsageError
from mmbal.files import locked

FAST = {"size": 16, "workers": 0, "sample_rate": 8000, "mels": 16}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def manifest(tmp_path, clip):
    """24 clips of two classes, told apart by tone and brightness; every fourth row is test."""

    def write(n=24, suffix=".mp4", seconds=0.4):
        lines = ["path,label,split"]
        for k in range(n):
            high = k % 2
            clip(
                tmp_path / f"c{k}{suffix}",
                seconds=seconds,
                rate=16000,
                tone=300 + 1000 * high + 20 * k,
                picture=lambda i, k=k, high=high: np.full((64, 64, 3), 60 + 100 * high + k + 5 * i, np.uint8),
            )
            lines.append(f"c{k}{suffix},{'high' if high else 'low'},{'test' if k % 4 == 3 else 'train'}")
        path = tmp_path / "own.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def files_of(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


def kinds(result):
    return sorted(f.kind for f in result.findings if f.level != "note")


def test_a_manifest_becomes_a_store(manifest):
    result = prepare(manifest(), val=0.25, **FAST)
    store = result.store
    assert store.path == Path("stores/own")
    assert latest_store() == store.path
    assert store.classes == ("high", "low")
    assert store.splits() == {"train": 14, "val": 4, "test": 6}  # a quarter of 18 rows: 4.5
    assert {m: spec.kind for m, spec in store.modalities.items()} == {"audio": "spectrogram", "video": "frames"}
    assert store.modalities["video"].shape == (3, 3, 16, 16)
    assert store.arrays["video"].dtype == np.uint8
    assert store.arrays["audio"].dtype == np.float16
    assert kinds(result) == []
    assert "nothing suspicious" in result.verdict
    # The class with the higher tone and the brighter picture is so in the arrays, row by row.
    video = store.arrays["video"][np.arange(len(store))].mean(axis=(1, 2, 3, 4))
    assert ((video > 150) == (store.labels == 0)).all()
    assert json.loads(json.dumps(result.to_dict()))["counts"]["test"]["high"]["audio"] == 6


def test_statistics_are_of_the_train_split_alone(manifest):
    store = prepare(manifest(), **FAST).store
    rows = store.rows("train")
    pixels = store.arrays["video"][rows].astype(float)
    spec = store.modalities["video"].preprocessing
    assert spec["mean"] == pytest.approx([pixels[:, :, c].mean() for c in range(3)])
    assert spec["std"] == pytest.approx([pixels[:, :, c].std() for c in range(3)])
    values = store.arrays["audio"][rows].astype(float)
    spec = store.modalities["audio"].preprocessing
    assert (spec["mean"], spec["std"]) == (pytest.approx([values.mean()]), pytest.approx([values.std()]))


def test_chunks_are_the_rows_asked_for(tmp_path, monkeypatch):
    values = np.arange(70, dtype=np.float32).reshape(10, 7)
    np.save(tmp_path / "a.npy", values)
    monkeypatch.setattr("mmbal.data.store.moments.CHUNK_BYTES", 3 * 7 * 4)
    parts = list(chunks(tmp_path / "a.npy", np.array([1, 4, 5, 9])))
    assert [len(part) for part in parts] == [3, 1]
    assert np.concatenate(parts).tolist() == values[[1, 4, 5, 9]].tolist()


def test_chunked_statistics_are_those_of_the_whole(tmp_path):
    values = np.random.default_rng(0).normal(3, 2, size=(700, 5)).astype(np.float32)
    values[:, 4] = 7.0  # never varies
    mean, std = moments([values[:1], values[1:256], values[256:]], "features")
    assert mean == pytest.approx(values.mean(axis=0), rel=1e-5)
    assert std[:4] == pytest.approx(values[:, :4].std(axis=0), rel=1e-5)
    assert std[4] == 1


def test_one_bad_file_costs_its_row_and_nothing_else(manifest, tmp_path, clip):
    path = manifest()
    clip(tmp_path / "c0.mp4", seconds=0.4, wave=np.zeros(17640))  # silent
    (tmp_path / "c1.mp4").unlink()
    (tmp_path / "c2.mp4").write_bytes((tmp_path / "c2.mp4").read_bytes()[:300])
    clip(tmp_path / "c4.mp4", seconds=0.8, audio=False)
    clip(tmp_path / "c6.mp4", seconds=0.4, picture=lambda k: np.zeros((64, 64, 3), np.uint8))
    result = prepare(path, **FAST)
    store = result.store
    assert len(store) == 22  # c1 and c2 have nothing; c4 lacks the sound but stays
    assert store.present["audio"][store.ids == "c4"].tolist() == [False]
    assert store.present["video"].all()
    assert (store.arrays["audio"][store.ids == "c4"] == 0).all()
    assert kinds(result) == ["black", "corrupt", "corrupt", "missing", "missing", "no audio", "silent"]
    with pytest.raises(DataError, match="7 findings"):
        prepare(path, strict=True, force=True, **FAST)
    complete = prepare(path, complete=True, out="complete", **FAST).store
    assert len(complete) == 21
    assert complete.present["audio"].all()


def test_an_empty_class_is_an_error_after_all_is_written(manifest, tmp_path):
    path = manifest()
    path.write_text(path.read_text() + "nowhere.mp4,third,train\n")
    result = prepare(path, **FAST)
    with pytest.raises(DataError, match="third: empty class"):
        result.check(strict=False)
    assert "1 of 3 classes" in result.verdict


def test_the_same_file_in_train_and_test_is_a_leak(manifest, tmp_path):
    path = manifest()
    (tmp_path / "c3.mp4").write_bytes((tmp_path / "c0.mp4").read_bytes())  # c3 is a test row
    (tmp_path / "c4.mp4").write_bytes((tmp_path / "c0.mp4").read_bytes())
    result = prepare(path, val=0, **FAST)
    found = [(f.kind, f.where, f.modality) for f in result.findings if f.level == "warning"]
    assert sorted(found) == [
        ("duplicate", "c4", "audio"),
        ("duplicate", "c4", "video"),
        ("leak", "c3 (test)", "audio"),
        ("leak", "c3 (test)", "video"),
    ]
    assert "too good" in result.verdict


def test_a_picture_given_twice_is_found_among_arrays_too():
    pictures = np.random.default_rng(0).integers(0, 255, (6, 5, 5), dtype=np.uint8)
    pictures[4], pictures[1], pictures[2] = pictures[0], 0, 0  # a copy, and two that are black
    np.savez("f.npz", image=pictures, label=np.arange(6) % 2, split=np.array(["train"] * 4 + ["test"] * 2))
    found = [(f.kind, f.where, f.modality) for f in prepare("f.npz", val=0).findings if f.level == "warning"]
    assert found == [("leak", "4 (test)", "image")]


def test_sound_and_picture_of_different_length_are_noticed(tmp_path, clip):
    clip(tmp_path / "a.wav", seconds=3.0)
    clip(tmp_path / "a.mp4", seconds=1.0, audio=False)
    clip(tmp_path / "b.wav", seconds=1.0, tone=600)
    (tmp_path / "m.csv").write_text(
        "audio,video,label,split\na.wav,a.mp4,x,train\nb.wav,a.mp4,y,train\nb.wav,a.mp4,y,test\n"
    )
    assert "length mismatch" in kinds(prepare("m.csv", val=0, **FAST))


def test_a_container_s_share_of_the_cores_is_its_own():
    assert granted("150000 100000\n") == 2  # one and a half
    assert granted("20000 100000") == 1
    assert granted("max 100000") > 1000
    assert 1 <= cores() <= os.cpu_count()


def test_the_number_of_workers_changes_no_byte(manifest):
    path = manifest()
    one, two = (prepare(path, out=f"s{n}", **{**FAST, "workers": n}).store.path for n in (0, 2))
    assert files_of(one) == files_of(two)


def test_prepared_twice_is_prepared_once(manifest):
    path = manifest()
    first = prepare(path, **FAST)
    again = prepare(path, **FAST)
    assert again.existed
    assert again.findings == first.findings
    with pytest.raises(UsageError, match="exists already"):
        prepare(path, **{**FAST, "size": 32})
    assert prepare(path, force=True, **{**FAST, "size": 32}).store.modalities["video"].shape[-1] == 32


@pytest.mark.parametrize("force", [False, True])
def test_only_a_store_is_ever_replaced(manifest, force):
    path = manifest(n=4)
    with pytest.raises(UsageError, match="folder you are in"):
        prepare(path, out=".", force=force, **FAST)
    photos = Path("photos")
    photos.mkdir()
    assert prepare(path, out=photos, force=force, **FAST).store.path.samefile(photos)  # an empty folder is no loss
    Path("mine").mkdir()
    (Path("mine") / "thesis.tex").write_text("ten years of work")
    for taken in ("mine", "mine/thesis.tex"):
        with pytest.raises(UsageError, match="not a store"):
            prepare(path, out=taken, force=force, **FAST)
    assert (Path("mine") / "thesis.tex").read_text() == "ten years of work"


RUN = """
import sys
from mmbal.data.prepare import prepare
prepare(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[3]), size=16, sample_rate=8000, mels=16,
        progress=lambda steps, total, of: print("row", flush=True))
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(manifest, workers):
    path = manifest()
    whole = prepare(path, out="whole", **FAST).store.path
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), "killed", str(workers)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    for _ in range(8):  # the first line says where it begins, so seven rows are encoded
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not Path("killed").exists()
    with Path(".killed.partial/journal.jsonl").open("a") as journal:
        journal.write('{"row": 23, "modal')  # a line torn by the kill
    result = prepare(path, out="killed", **FAST)
    assert 7 <= result.resumed < 24
    assert files_of(result.store.path) == files_of(whole)
    assert not Path(".killed.partial").exists()


def test_a_store_that_another_process_writes_is_left_alone(manifest):
    path = manifest(n=8)
    partial = Path(".own.partial")
    partial.mkdir()
    (partial / "journal.jsonl").write_text("of the other")
    with locked(Path("own")), pytest.raises(UsageError, match="Another mmbal process is writing own"):
        prepare(path, out="own", force=True, **FAST)
    assert (partial / "journal.jsonl").read_text() == "of the other"
    made = prepare(path, out="own", **FAST)
    with locked(Path("own")):
        assert prepare(path, out="own", **FAST).existed  # nothing is written, so nobody is in the way
    assert made.store.path.parent.joinpath(".own.lock").exists() is False


def test_other_splits_need_no_second_decoding(manifest):
    path = manifest(n=8)
    text = path.read_text()
    path.write_text(text.replace(",train", ",test"))
    with pytest.raises(DataError, match="no training samples"):
        prepare(path, **FAST)
    result = prepare(path, resplit=True, **FAST)
    assert result.resumed == 8
    assert set(result.store.splits()) == {"train", "val", "test"}


def test_a_changed_source_is_not_mixed_with_an_old_run(manifest, tmp_path, clip):
    path = manifest()
    partial = Path("stores/.own.partial")
    partial.mkdir(parents=True)
    (partial / "plan.json").write_text('{"fingerprint": "of something else"}')
    (partial / "journal.jsonl").write_text('{"row": 0, "modalities": {}}\n')
    result = prepare(path, **FAST)
    assert result.resumed == 0
    assert len(result.store) == 24


def test_a_crash_of_the_decoder_costs_one_row(manifest, monkeypatch, tmp_path):
    path = manifest(n=6)
    # A worker that dies over one file, as a decoder with a fault in it would.
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'mmbal.data.preparation.worker' in ' '.join(sys.orig_argv):\n"
        "    import mmbal.data.media.container as container\n"
        "    container.check_file = lambda path: os._exit(77) if path.stem == 'c2' else None\n"
    )
    monkeypatch.syspath_prepend(str(site))
    result = prepare(path, val=0, **{**FAST, "workers": 2})
    assert sorted(result.store.ids) == ["c0", "c1", "c3", "c4", "c5"]
    crash = [f for f in result.findings if f.kind == "crash"]
    assert len(crash) == 2  # both modalities of c2
    assert "77" in crash[0].reason


def test_a_decoder_that_hangs_is_told_from_one_that_dies(manifest, monkeypatch, tmp_path):
    asked = read_manifest(manifest(n=2), validate(Options, {"size": 16}, "options"))
    recipes = {"video": recipes_for(asked.rows, Options(size=16))["video"]}
    shape = (2, *recipes["video"].stored_shape)
    np.lib.format.open_memmap(tmp_path / "video.npy", "w+", np.dtype(recipes["video"].dtype), shape)
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'mmbal.data.preparation.worker' in ' '.join(sys.orig_argv):\n"
        "    import mmbal.data.media.container as container\n"
        "    container.check_file = lambda path: time.sleep(600) if path.stem == 'c0' else os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.syspath_prepend(str(site))

    def lost(row: int, **limit: float) -> list[str]:
        (answer,) = encode_rows(tmp_path, recipes, [(row, asked.rows[row])], workers=1, **limit)
        return answer["modalities"]["video"]["lost"]

    assert lost(0, limit=0.25) == ["timeout", "decoding took longer than 0.25 s and was stopped"]
    assert lost(1) == ["crash", "the decoder crashed on it (exit status -9)"]


def test_verify_finds_a_changed_byte(manifest):
    store = prepare(manifest(), **FAST).store
    assert store.verify() == []
    with (store.path / "audio.npy").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    assert store.verify() == ["audio.npy has changed: its SHA-256 is not the one written at preparation."]


def test_a_damaged_store_is_said_to_be_one(manifest, tmp_path):
    store = prepare(manifest(), **FAST).store
    (store.path / "video.npy").unlink()
    with pytest.raises(DataError, match=r"video.npy is missing"):
        Store.open(store.path)
    meta = json.loads((store.path / "meta.json").read_text())
    (store.path / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(DataError, match="format 99"):
        Store.open(store.path)
    with pytest.raises(UsageError, match="not a store"):
        Store.open(tmp_path)


def test_features_of_any_number_of_modalities(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        "f.npz",
        a=rng.normal(size=(40, 7)),
        b=rng.normal(size=(40, 3, 5)),
        c=rng.integers(0, 255, (40, 8, 8), dtype=np.uint8),
        label=np.tile(["x", "y"], 20),
        clip_id=np.array([f"n{i}" for i in range(40)]),
        present_a=np.arange(40) != 1,
    )
    store = prepare("f.npz").store
    assert {m: (s.kind, s.shape) for m, s in store.modalities.items()} == {
        "a": ("features", (7,)),
        "b": ("sequence", (3, 5)),
        "c": ("image", (1, 8, 8)),
    }
    assert store.splits() == {"train": 26, "val": 6, "test": 8}  # 40 x 0.2 = 8, 32 x 0.2 = 6.4
    assert store.present["a"].sum() == 39
    chosen = prepare("f.npz", out="two", modality=("left=a", "right=b"), kind={"right": "spectrogram"}).store
    assert {m: (s.kind, s.shape) for m, s in chosen.modalities.items()} == {
        "left": ("features", (7,)),
        "right": ("spectrogram", (1, 3, 5)),
    }


def test_matlab_views_with_their_own_split(shared_data):
    store = prepare(shared_data / "multiview" / "handwritten_6views.mat").store
    assert len(store.modalities) == 6
    assert store.splits() == {"train": 1280, "val": 320, "test": 400}
    assert store.modalities["x1"].shape == (240,)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"a": np.ones((4, 2))}, "no array 'label'"),
        ({"a": np.ones((4, 2)), "label": np.zeros(5)}, "no array of 5 rows"),
        ({"a": np.ones((4, 2)), "label": np.array([0.5, 1, 0, 1])}, "real numbers"),
        ({"a": np.ones((4, 2)), "label": np.zeros((2, 2))}, "one class per sample"),
        (
            {"a": np.ones((4, 2)), "label": np.array([0, 1, 2, 1]), "classes": np.array(["x", "y"])},
            "there are 2 classes",
        ),
        (
            {"a": np.ones((4, 2)), "label": np.array([0, 1, 0, 1]), "split": np.array(["a", "b", "c", "d"])},
            "unknown split 'a'",
        ),
        (
            {"a": np.ones((4, 2)), "label": np.array([0, 1, 0, 1]), "split": np.array(["test"] * 4)},
            "no training samples",
        ),
        ({"a": np.full((4, 2), np.nan), "label": np.array([0, 1, 0, 1])}, "No sample"),
        ({"a": np.ones((4, 2)), "label": np.array([0, 1, 0, 1]), "modalities": np.array(["a", "b"])}, "no array 'b'"),
        ({"a": np.ones((4, 2)), "label": np.array([0, 1, 0, 1]), "present_a": np.ones(3)}, "'present_a' has shape"),
    ],
)
def test_a_wrong_feature_file_is_said_in_a_sentence(arrays, why):
    np.savez("f.npz", **arrays)
    with pytest.raises((DataError, UsageError), match=why):
        prepare("f.npz")


def test_ids_that_come_again_are_told_apart_and_one_class_is_noticed():
    np.savez("f.npz", a=np.ones((4, 2)), label=np.zeros(4, int), ids=np.array(["x", "y", "x", "x"]))
    result = prepare("f.npz", val=0, test=0)
    assert result.store.ids.tolist() == ["x", "y", "x#2", "x#3"]
    assert kinds(result) == ["one class"]


def test_pickles_are_refused_with_their_conversion(tmp_path):
    Path("mosi.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="never reads one") as caught:
        prepare("mosi.pkl")
    assert "np.savez('mosi.npz'" in caught.value.hint
    np.savez("o.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="pickled objects"):
        prepare("o.npz")


def test_an_unknown_source_offers_the_nearest():
    with pytest.raises(UsageError) as caught:
        prepare("avmnst")
    assert "avmnist" in caught.value.hint
    with pytest.raises(UsageError, match=r"no file 'nowhere/own\.csv'"):
        prepare("nowhere/own.csv")


def test_the_embedded_digits_need_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MMBAL_CACHE", str(tmp_path / "cache"))
    began = time.perf_counter()
    store = Store.open(embedded_store())
    assert store.splits() == {"train": 1280, "val": 320, "test": 400}
    assert {m: s.shape for m, s in store.modalities.items()} == {"audio": (1, 32, 32), "image": (1, 28, 28)}
    assert latest_store() is None  # it does not push aside what the user prepared
    assert embedded_store() == store.path
    assert time.perf_counter() - began < 60


def test_a_store_elsewhere_is_remembered_and_leaves_nothing_here(manifest, tmp_path, monkeypatch):
    source = manifest().resolve()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    store = prepare(source, out=tmp_path / "elsewhere" / "s", **FAST).store
    assert latest_store() == store.path.resolve()
    assert list(Path.cwd().iterdir()) == []


def test_image_and_text_from_json_lines(tmp_path):
    from PIL import Image

    lines = []
    for k in range(12):
        Image.fromarray(np.full((10, 10, 3), 20 * k, np.uint8)).save(f"{k}.png")
        lines.append(json.dumps({"image": f"{k}.png", "text": f"number {k} of many", "label": ["a", "b"][k % 2]}))
    lines[3] = json.dumps({"image": "3.png", "label": "b"})  # no text
    Path("pairs.jsonl").write_text("\n".join(lines))
    store = prepare("pairs.jsonl", length=6, vocabulary=50, **FAST).store
    assert {m: (s.kind, s.shape) for m, s in store.modalities.items()} == {
        "image": ("image", (3, 16, 16)),
        "text": ("text", (6,)),
    }
    assert store.modalities["text"].preprocessing["vocabulary"] == 50
    assert store.present["text"].tolist() == [k != 3 for k in range(12)]


def test_feature_columns_of_a_manifest(tmp_path):
    np.savez("all.npz", **{f"k{i}": np.full(4, i, np.float32) for i in range(10)})
    rows = ["gait,label,group"]
    for i in range(10):
        np.save(f"g{i}.npy", np.full((2 + i % 3, 3), i, np.float32))
        rows.append(f"all.npz#k{i},{'ab'[i % 2]},person{i // 2}")
    Path("m.csv").write_text("\n".join(rows))
    store = prepare("m.csv", **FAST).store
    assert store.modalities["gait"].kind == "features"
    assert store.arrays["gait"][:, 0].tolist() == list(range(10))
    assert sorted(set(store.group)) == [f"person{i}" for i in range(5)]
    for name in set(store.group):  # a person is in one split
        assert len(set(store.split[store.group == name])) == 1
    Path("m.csv").write_text("\n".join(["gait,label"] + [f"g{i}.npy,{'ab'[i % 2]}" for i in range(10)]))
    assert prepare("m.csv", out="sequences", **FAST).store.modalities["gait"].shape == (4, 3)


def test_a_full_disk_is_no_fault_of_the_clips(manifest, monkeypatch):
    import errno

    from mmbal.data.preparation.worker import Encoder

    class Full:
        """A disk with room for three arrays."""

        def __init__(self, file):
            self.file = file
            self.room = 3

        def seek(self, position):
            self.file.seek(position)

        def write(self, data):
            self.room -= 1
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def close(self):
            self.file.close()

    made = Encoder.__init__

    def small(self, folder, recipes):
        made(self, folder, recipes)
        self._files = {m: Full(file) for m, file in self._files.items()}

    path = manifest(n=8)
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "__init__", small)
        with pytest.raises(DataError, match="No space left on device"):
            prepare(path, **FAST)
    result = prepare(path, **FAST)  # room has been made
    assert result.resumed == 3
    assert kinds(result) == []


def test_only_the_modalities_asked_for_are_made(manifest):
    store = prepare(manifest(n=8), modality=("audio",), **FAST).store
    assert list(store.modalities) == ["audio"]
    assert not (store.path / "video.npy").exists()


def test_real_recordings_of_spoken_digits(fsdd):
    lines = ["audio,label,split"]
    for path in sorted(fsdd.glob("*.wav")):
        digit, _, take = path.stem.split("_")
        lines.append(f"{path},{digit},{'test' if take == '2' else 'train'}")
    Path("digits.csv").write_text("\n".join(lines))
    result = prepare("digits.csv", val=0, workers=0, sample_rate=8000, n_fft=256, hop=80, mels=32)
    store = result.store
    assert kinds(result) == []
    assert store.classes == tuple("0123456789")
    # The longest of these recordings has 13,246 bytes of samples behind its header: 6,623 samples, 0.828 s, 83 steps.
    assert store.modalities["audio"].shape == (1, 32, 83)
    # Nearest centroid of the mean spectrum: far above the tenth that chance gives.
    spectra = store.arrays["audio"][np.arange(30)].astype(float).mean(axis=2)
    train, test = store.rows("train"), store.rows("test")
    centroids = np.stack([spectra[train][store.labels[train] == c].mean(axis=0) for c in range(10)])
    nearest = ((spectra[test][:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == store.labels[test]).mean() >= 0.5
