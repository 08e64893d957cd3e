"""Properties of samples go from a manifest through the store and a view into the predictions of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmbal.data.prepare import prepare
from mmbal.data.store.store import Store, write_view
from mmbal.engine.config import TrainConfig
from mmbal.engine.train import train
from mmbal.runs import find_predictions


def test_columns_of_a_manifest_reach_the_predictions(tmp_path: Path):
    rng = np.random.default_rng(0)
    lines = ["sound,touch,label,split,id,group_site,other"]
    for k in range(40):
        for m in ("sound", "touch"):
            np.save(tmp_path / f"{m}{k}.npy", rng.normal(size=4).astype(np.float32) + k % 2)
        split, site = ("train", "val", "test", "train")[k % 4], ("north", "")[k % 5 == 0]
        lines.append(f"sound{k}.npy,touch{k}.npy,{'ab'[k % 2]},{split},s{k},{site},x")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    prepare(tmp_path / "m.csv", out=tmp_path / "store", workers=0)
    store = Store.open(tmp_path / "store")
    assert set(store.segments) == {"site"}  # `other` is no property

    def right(ids: np.ndarray, values: np.ndarray) -> bool:
        return values.tolist() == ["" if int(name[1:]) % 5 == 0 else "north" for name in ids.tolist()]

    assert right(store.ids, store.segments["site"])
    part = write_view(store, np.array([7, 3, 3]), tmp_path / "view")
    assert right(part.ids, part.segments["site"])
    settings = {"data": str(store.path), "epochs": 1, "batch_size": 8, "device": "cpu"}
    train(TrainConfig(**settings), out=tmp_path / "run")
    found = find_predictions(tmp_path / "run")
    assert right(found.ids, found.segments["site"])
