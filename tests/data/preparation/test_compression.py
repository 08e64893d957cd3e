"""Pictures kept as files: a tenth of the bytes, the same pictures nearly, the same bytes whoever prepares them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmbal.data.prepare import prepare
from mmbal.data.store.compressed import decoded, encoded
from mmbal.data.store.loader import Loader
from mmbal.data.store.store import Store, write_view
from mmbal.errors import DataError, UsageError

FAST = {"size": 32, "frames": 2, "keep": 4, "sample_rate": 8000, "duration": 0.4, "mels": 8, "modality": ("video",)}


@pytest.fixture
def manifest(tmp_path: Path, clip, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight clips of smooth pictures that move, one of which is no clip."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:64, :64]
    for k in range(7):
        clip(
            tmp_path / f"c{k}.mp4",
            seconds=0.4,
            audio=False,
            picture=lambda i, k=k: (
                np.stack([2 * x + 9 * i, 2 * y + 8 * k, 200 - x - y], 2).clip(0, 255).astype(np.uint8)
            ),
        )
    lines = [f"c{k}.mp4,{'ab'[k % 2]},{'test' if k > 4 else 'train'}" for k in range(7)]
    (tmp_path / "own.csv").write_text("\n".join(["video,label,split", *lines]))
    return tmp_path / "own.csv"


def files_of(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_batches_are_those_of_the_raw_store_nearly(manifest: Path, codec: str):
    raw = prepare(manifest, out="raw", workers=0, **FAST).store
    kept = prepare(manifest, out="kept", workers=0, codec=codec, **FAST).store
    assert kept.arrays["video"].shape == raw.arrays["video"].shape == (7, 4, 3, 32, 32)
    assert not (kept.path / "video.npy").exists()
    assert (kept.path / "video.bin").stat().st_size < raw.arrays["video"].nbytes / 3
    error = kept.arrays["video"][:].astype(float) - raw.arrays["video"][:]
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 30  # dB
    both = [list(Loader(s, "train", 2, shuffle=True, augment=True, seed=1).epoch(0)) for s in (raw, kept)]
    for one, other in zip(*both, strict=True):
        assert one.index.tolist() == other.index.tolist()
        assert abs(one.inputs["video"] - other.inputs["video"]).mean() < 0.2  # standard deviations of the pixels
    assert kept.verify() == []
    assert Store.open(kept.path).hash == kept.hash != raw.hash


def test_any_number_of_workers_gives_the_same_bytes(manifest: Path, monkeypatch: pytest.MonkeyPatch):
    one = prepare(manifest, out="s0", workers=0, codec="jpeg", **FAST).store
    monkeypatch.setattr("mmbal.data.preparation.compression.cores", lambda: 3)
    two = prepare(manifest, out="s1", workers=0, codec="jpeg", **FAST).store
    assert files_of(one.path) == files_of(two.path)
    assert prepare(manifest, out="s0", workers=0, codec="jpeg", **FAST).existed
    with pytest.raises(UsageError, match="exists already"):
        prepare(manifest, out="s0", workers=0, codec="jpeg", quality=50, **FAST)


def test_rows_and_frames_are_indexed_as_in_an_array(manifest: Path):
    store = prepare(manifest, out="kept", workers=0, codec="webp", **FAST).store
    kept, whole = store.arrays["video"], store.arrays["video"][:]
    rows, frames = np.array([5, 0, 3]), np.array([[0, 3], [1, 2], [2, 2]])
    assert np.array_equal(kept[2], whole[2])
    assert np.array_equal(kept[rows], whole[rows])
    assert np.array_equal(kept[rows[:, None], frames], whole[rows[:, None], frames])
    assert np.array_equal(kept[rows[:, None], frames[:1]], whole[rows[:, None], frames[:1]])
    view = write_view(store, np.array([6, 1, 1]), Path("view"))
    assert np.array_equal(view.arrays["video"][np.array([0, 2])], whole[[6, 1]])


def test_damage_is_said_in_a_sentence(manifest: Path):
    store = prepare(manifest, out="kept", workers=0, codec="jpeg", **FAST).store
    file = store.path / "video.bin"
    data = file.read_bytes()
    file.write_bytes(b"\0" * len(data))
    with pytest.raises(DataError, match=r"video.bin is damaged: picture 4 can't be decoded"):
        Store.open(store.path).arrays["video"][1]
    assert "video.bin has changed" in store.verify()[0]
    file.write_bytes(data[:-1])
    with pytest.raises(DataError, match="does not hold 28 pictures"):
        Store.open(store.path)
    file.unlink()
    with pytest.raises(DataError, match=r"video.bin is missing"):
        Store.open(store.path)


def test_grey_pictures_and_pictures_of_nothing():
    assert encoded(np.zeros((3, 8, 8), np.uint8), "jpeg", 90) == b""
    grey = np.linspace(0, 255, 64).astype(np.uint8).reshape(1, 8, 8)
    assert abs(decoded(encoded(grey, "jpeg", 95), (1, 8, 8)).astype(int) - grey).max() < 12
    with pytest.raises(ValueError, match="a picture of"):
        decoded(encoded(grey, "jpeg", 95), (1, 4, 4))


def test_without_pictures_there_is_nothing_to_compress(tmp_path: Path):
    np.savez(tmp_path / "f.npz", labels=np.arange(20) % 2, a=np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(UsageError, match="no pictures that jpeg can keep"):
        prepare(tmp_path / "f.npz", out=tmp_path / "s", codec="jpeg")
