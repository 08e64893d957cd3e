"""What is taken at first contact, and what `print` shows of it."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import gaussian

import mmbal
from mmbal.data.store.loader import Loader
from mmbal.errors import UsageError
from mmbal.models.fusion import build_fusion
from mmbal.models.multimodal import build_model


def test_a_data_frame_is_taken():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 80)
    p = {m: 1 / (1 + np.exp(-(2.0 * label - 1) * s - rng.normal(size=80))) for m, s in (("audio", 1.5), ("video", 0.5))}
    columns = {"id": [f"c{i}" for i in range(80)], "label": np.where(label, "yes", "no"), "split": ["val", "test"] * 40}
    for m, share in p.items():
        columns |= {f"{m}:no": 1 - share, f"{m}:yes": share}
    frame = pandas.DataFrame(columns)
    frame.loc[3, ["video:no", "video:yes"]] = np.nan
    arrays = {"labels": label, "split": columns["split"], "classes": ["no", "yes"], "ids": columns["id"]}
    arrays |= {f"probabilities_{m}": np.stack([1 - share, share], axis=1) for m, share in p.items()}
    arrays["present_video"] = np.arange(80) != 3
    ours, theirs = mmbal.diagnose(frame, bootstrap=50), mmbal.diagnose(arrays, bootstrap=50)
    assert ours.verdict == theirs.verdict
    assert ours.accuracy == theirs.accuracy
    ours, theirs = (mmbal.calibrate(given, "temperature", names=["mean"]) for given in (frame, arrays))
    assert ours.to_json() == theirs.to_json()


def test_an_own_loader_and_an_own_model_need_no_step(toy):
    store = toy({"audio": 6, "video": 4})
    encoders = dict.fromkeys(store.modalities, ("mlp", {}))
    model = build_model(store.modalities, len(store.classes), encoders, ("concat", {}))
    found = mmbal.collect(model, Loader(store, "test", 16))
    assert found.classes == store.classes
    assert found.splits() == {"test": len(store.rows("test"))}
    assert found.ids.tolist() == store.ids[store.rows("test")].tolist()
    np.testing.assert_allclose(sum(found.contribution.values()), found.fused, atol=1e-5)
    with pytest.raises(UsageError, match=r"collect needs step\(model, batch\)"):
        mmbal.collect(build_fusion("concat", {}, {"audio": 6}, 3), Loader(store, "test", 16))


def test_what_print_shows(toy):
    store = toy({"audio": 6, "video": 4})
    assert str(store).splitlines()[1:] == ["audio: features (6,)", "video: features (4,)"]
    assert str(store).startswith("Store 'toy' at ")
    assert "160 samples (80 train, 40 val, 40 test), 3 classes" in str(store)
    batch = next(iter(Loader(store, "test", 16)))
    assert str(batch) == repr(batch) == "Batch of 16 samples on cpu: audio (16, 6), video (16, 4)"
    p = gaussian(40)
    assert str(p).splitlines() == [
        "Predictions of 40 samples (40 test), 4 classes",
        "modalities: m0, m1, m2",
        "with: unimodal logits, features",
    ]
    d = mmbal.diagnose(p, bootstrap=50, rule="temperature")
    lines = str(d).splitlines()
    assert lines[0] == "Diagnosis of 40 samples of the split 'test'"
    assert lines[1 : 1 + len(d.verdict)] == d.verdict
