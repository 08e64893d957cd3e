"""What 0.1.0 made of files that it read right is what is made of them now, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mmbal.data.prepare import prepare
from mmbal.data.store.store import Store

HERE = Path(__file__).parent
MADE = HERE / "store_0_1"  # written by mmbal 0.1.0 from `source`
OPTIONS = {"size": 8, "sample_rate": 8000, "mels": 8, "n_fft": 128, "hop": 80, "length": 4, "workers": 0, "val": 0.25}


def source(folder: Path) -> Path:
    """Recordings, pictures, a clip, texts and features: a manifest of all kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:20, :30]
    rows = ["audio,video,image,text,gait,label,split,id"]
    for k, wav in enumerate(sorted((HERE / "fsdd").glob("*.wav"))[:8]):
        picture = np.stack([8 * x + k, 12 * y, 5 * (x + y) + 3 * k], axis=-1).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{k}.png")
        (folder / f"frames{k}").mkdir(exist_ok=True)
        for frame in range(5):
            Image.fromarray(np.roll(picture, 3 * frame, axis=1)).save(folder / f"frames{k}" / f"{frame:03d}.png")
        np.save(folder / f"{k}.npy", np.arange(6, dtype=np.float32).reshape(2, 3) * k)
        video = HERE / "moving.mp4" if k == 0 else f"frames{k}"
        split = "test" if k > 5 else "train"
        rows.append(f"{wav},{video},{k}.png,the word {k} was said,{k}.npy,{'ab'[k % 2]},{split},r{k}")
    (folder / "all.csv").write_text("\n".join(rows) + "\n")
    return folder / "all.csv"


def test_a_store_of_today_has_the_arrays_of_one_of_0_1(tmp_path):
    old = Store.open(MADE)
    new = prepare(source(tmp_path), out=tmp_path / "store", **OPTIONS).store
    assert old.verify() == []
    assert list(new.modalities) == list(old.modalities) == ["audio", "video", "image", "text", "gait"]
    for m, array in old.arrays.items():
        if m == "audio":  # the last bit of a Fourier transform is the processor's
            assert np.allclose(np.asarray(new.arrays[m], float), np.asarray(array, float), atol=0.02)
        else:
            assert new.meta["files"][f"{m}.npy"] == old.meta["files"][f"{m}.npy"]
    for column in ("labels", "split", "ids"):
        assert np.array_equal(getattr(new, column), getattr(old, column))
    recipes = [{m: s.preprocessing["recipe"] for m, s in store.modalities.items()} for store in (old, new)]
    assert json.dumps(recipes[0]) == json.dumps(recipes[1])
