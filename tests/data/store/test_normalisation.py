"""How stored values become inputs: by the data's moments, as they are, by ImageNet's, or by given numbers."""

import numpy as np
import pytest
import torch
from terminal import as_json, refused

from mmbal.data.store.loader import Loader, statistics, to_input
from mmbal.data.store.normalisation import normalised, with_normalisation
from mmbal.data.store.store import ModalitySpec, Store
from mmbal.errors import UsageError

SOUND = ModalitySpec(kind="spectrogram", shape=(1, 1, 2), preprocessing={"mean": [-4.0], "std": [2.0]})
PICTURE = ModalitySpec(
    kind="image", shape=(3, 1, 1), preprocessing={"mean": [51.0, 0.0, 0.0], "std": [102.0, 1.0, 1.0]}
)
FEATURES = ModalitySpec(kind="features", shape=(2,), preprocessing={"mean": [1.0, 2.0], "std": [2.0, 4.0]})


@pytest.mark.parametrize(
    ("spec", "stored", "how", "expected"),
    [
        (SOUND, [-4.0, 0.0], "dataset", [0.0, 2.0]),
        (SOUND, [-4.0, 0.0], "none", [-4.0, 0.0]),
        (SOUND, [5.778675, -4.503877], "-4.503877,10.282552", [1.0, 0.0]),
        (PICTURE, [153, 7, 9], "dataset", [1.0, 7.0, 9.0]),
        (PICTURE, [255, 0, 51], "none", [1.0, 0.0, 0.2]),
        (PICTURE, [255, 0, 51], "imagenet", [0.515 / 0.229, -0.456 / 0.224, -0.206 / 0.225]),
        (PICTURE, [255, 0, 51], "0.5,0.25", [2.0, -2.0, -1.2]),
        (FEATURES, [3.0, 2.0], "dataset", [1.0, 0.0]),
        (FEATURES, [3.0, 2.0], "none", [3.0, 2.0]),
    ],
)
def test_what_an_encoder_gets(spec, stored, how, expected):
    spec = normalised(spec, how, "m")
    found = to_input(torch.tensor([stored], dtype=torch.float32), spec, statistics(spec))
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("spec", "how", "told"),
    [
        (SOUND, "imagenet", "for pictures of three colours"),
        (SOUND, "nonsense", "MEAN,STD"),
        (SOUND, "0,0", "must be above 0"),
        (ModalitySpec(kind="text", shape=(4,)), "none", "no values to normalise"),
    ],
)
def test_what_can_not_be(spec, how, told):
    with pytest.raises(UsageError) as refusal:
        normalised(spec, how, "m")
    assert told in f"{refusal.value.message} {refusal.value.hint}"


def test_of_a_store_a_run_and_a_new_sample(tmp_path):
    """A store keeps its values; the run's choice holds in training and is kept with the run."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    np.savez(
        tmp_path / "f.npz", labels=labels, a=rng.normal(5, 3, (60, 4)) + labels[:, None], b=rng.normal(size=(60, 3))
    )
    plain = as_json("prepare", tmp_path / "f.npz", "--out", tmp_path / "plain")
    assert plain["findings"] is not None
    as_json("prepare", tmp_path / "f.npz", "--out", tmp_path / "raw", "--normalise", "a=none")

    def inputs(name, ways):
        store = with_normalisation(Store.open(tmp_path / name), ways)
        return next(iter(Loader(store, "train", 8).epoch(0))).inputs["a"]

    assert torch.equal(inputs("raw", {}), inputs("plain", {"a": "none"}))
    assert not torch.allclose(inputs("raw", {}), inputs("plain", {}))
    run = ("train", "--data", tmp_path / "plain", "--epochs", 1, "--out", tmp_path / "run", "--set", "normalise.a=none")
    as_json(*run)
    from mmbal.engine.checkpoint import load_model

    kept = load_model(tmp_path / "run")
    assert kept.config.normalise == {"a": "none"}
    assert kept.modalities["a"].preprocessing["normalise"] == "none"
    assert "no modality 'c'" in refused(
        2, "prepare", tmp_path / "f.npz", "--out", tmp_path / "x", "--normalise", "c=none"
    )
    assert "no preset" in refused(2, "prepare", tmp_path / "f.npz", "--out", tmp_path / "x", "--like", "ogm")
