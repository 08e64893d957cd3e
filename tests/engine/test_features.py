"""Features of frozen encoders: the same as without the cache, shared by runs, of views where inputs are augmented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmbal.data.store.loader import Loader
from mmbal.data.store.store import ModalitySpec, Store, seal
from mmbal.engine import features
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import train
from mmbal.errors import ConfigError

ROWS = 40


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> Store:
    """Pictures that are cropped and mirrored in training, and feature vectors; the last quarter is held out."""
    monkeypatch.setenv("MMBAL_CACHE", str(tmp_path / "cache"))
    random, folder = np.random.default_rng(0), tmp_path / "store"
    folder.mkdir()
    np.save(folder / "image.npy", random.integers(0, 255, (ROWS, 3, 12, 12), dtype=np.uint8))
    np.save(folder / "text.npy", random.normal(size=(ROWS, 5)).astype(np.float32))
    augment = {"augment": {"crop": [0.5, 1.0], "flip": True}, "mean": [128.0] * 3, "std": [64.0] * 3}
    specs = {
        "image": ModalitySpec(kind="image", shape=(3, 12, 12), preprocessing=augment),
        "text": ModalitySpec(kind="features", shape=(5,)),
    }
    rows = {"labels": np.arange(ROWS) % 3, "ids": np.arange(ROWS).astype(str)}
    rows |= {"split": np.where(np.arange(ROWS) < 30, "train", "val")}
    rows |= {"present_image": np.arange(ROWS) % 7 > 0, "present_text": np.ones(ROWS, dtype=bool)}
    seal(folder, name="small", classes=("a", "b", "c"), modalities=specs, rows=rows, meta={})
    return Store.open(folder)


def config(store: Store, **changes: Any) -> TrainConfig:
    values = {"data": str(store.path), "freeze_encoders": True, "augment": False, "epochs": 2, "batch_size": 10}
    return TrainConfig(**(values | {"device": "cpu"} | changes))


def arrays(store: Store) -> list[Path]:
    return sorted((store.path.parent / "cache" / "mmbal" / features.FOLDER).glob("*.npy"))


@pytest.mark.parametrize("fusion", ["concat", "attention_lt"])  # features, and tokens
def test_training_is_that_without_the_cache(store, fusion, tmp_path, monkeypatch):
    choice = Choice(name=fusion)
    cached = train(config(store, fusion=choice), out=tmp_path / "cached")
    monkeypatch.setattr(features, "why_not", lambda store, config: "not now")
    monkeypatch.setattr("mmbal.engine.session.why_not", lambda store, config: "not now")
    plain = train(config(store, fusion=choice), out=tmp_path / "plain")
    found, expected = (torch.load(run.folder / "last.pt", weights_only=True)["model"] for run in (cached, plain))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_a_second_run_of_the_sweep_encodes_nothing(store, monkeypatch):
    Session(config(store))
    assert len(arrays(store)) == 2
    session = Session(config(store, seed=0, method=Choice(name="ogm")))
    for encoder in session.model.encoders.values():
        encoder.register_forward_pre_hook(lambda module, given: pytest.fail("an encoder runs"))
    session.fit()
    assert len(arrays(store)) == 2


def test_other_weights_and_other_data_have_features_of_their_own(store):
    session = Session(config(store))
    before = {m: features.hash_of(e) for m, e in session.model.encoders.items()}
    with torch.no_grad():
        next(session.model.encoders["text"].parameters()).add_(1)
    now = {m: features.hash_of(e) for m, e in session.model.encoders.items()}
    assert (before["image"], before["text"]) == (now["image"], session.features.hashes["text"])
    assert before["text"] != now["text"]
    assert not session.features.valid()
    batch = next(session.run.train.epoch(0))
    assert batch.features == {}  # so the changed encoder runs
    features.cached_features(session.model, store, session.config, session.device)
    assert len(arrays(store)) == 3
    features.cached_features(session.model, replace(store, hash="other"), session.config, session.device)
    assert len(arrays(store)) == 5


def test_the_same_weights_loaded_again_keep_the_cache(store):
    session = Session(config(store))
    session.model.load_state_dict({name: value.clone() for name, value in session.model.state_dict().items()})
    assert session.features.valid()


def test_inputs_that_are_augmented_are_refused_without_views_and_told(store):
    told: list[str] = []
    session = Session(config(store, augment=True), report=lambda steps, text: told.append(text))
    assert session.features is None
    assert told == [
        "Features are not cached: image is augmented at random, so features differ in each epoch. "
        "--views 8 caches so many augmented views; --set augment=false caches one without augmentation."
    ]


def test_views_without_frozen_encoders_are_refused(store):
    with pytest.raises(ConfigError, match="these learn"):
        Session(config(store, freeze_encoders=False, views=2))


def test_views_are_features_of_inputs_as_training_augments_them(store):
    session = Session(config(store, augment=True, views=3))
    encoder, cached = session.model.encoders["image"].eval(), session.features
    assert set(cached.views) == {"image"}  # nothing else is augmented
    loader = Loader(store, "train", 64, augment=True, seed=features.SEED)
    rows = store.rows("train")
    expected = [encoder(loader.inputs(rows, slice(None), [features.SEED, k, 0])["image"]) for k in range(3)]
    for k in range(3):
        torch.testing.assert_close(torch.from_numpy(cached.views["image"][k, rows]), expected[k].detach())
    assert not np.allclose(cached.views["image"][0, rows], cached.views["image"][1, rows])
    seen = {}
    for epoch in range(4):
        for batch in session.run.train.epoch(epoch):
            for row, feature in zip(batch.index.tolist(), batch.features["image"], strict=True):
                (view,) = [k for k in range(3) if np.array_equal(cached.views["image"][k, row], feature)][:1]
                seen.setdefault(row, set()).add(view)
    assert max(map(len, seen.values())) > 1  # of a row, the epochs see different views
    held = next(session.run.validation.epoch(0))
    np.testing.assert_array_equal(held.features["image"], cached.plain["image"][held.index])


def test_a_method_that_changes_inputs_is_given_them(store):
    session = Session(config(store))
    batch = next(session.run.validation.epoch(0))
    (expected,) = Loader(store, "val", 10).epoch(0)
    torch.testing.assert_close(batch.inputs["image"], expected.inputs["image"])
    assert batch.features
    other = replace(batch, inputs={m: 2 * x for m, x in batch.inputs.items()})
    assert other.features == {}
    assert replace(batch, present=batch.present).features
