"""What a batch becomes, sample by sample, and that the model then bears a missing modality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmbal.data.store.loader import Batch
from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import train
from mmbal.methods.base import Phase
from mmbal.methods.parts.modality_dropout import faded, simplex
from mmbal.predictions.format import Predictions

Toy = Callable[..., Store]


def session(store: Store, **options: object) -> tuple[Session, Batch]:
    config = TrainConfig(data=str(store.path), method=Choice(name="modality_dropout", **options), batch_size=16)
    made = Session(config.model_copy(update={"device": "cpu"}))
    return made, next(made.run.train.epoch(0))


def test_softhard_repeats_the_batch_faded_and_without_each_modality(toy: Toy):
    made, batch = session(toy({"audio": 6, "video": 4}))
    found = made.method.on_batch(batch, made.run)
    assert len(found) == 64
    assert torch.equal(found.labels, batch.labels.repeat(4))
    assert torch.equal(found.index, batch.index.repeat(4))
    audio, video = (found.inputs[m].split(16) for m in ("audio", "video"))
    share = {m: (x[1] / x[0]).mean(dim=1) for m, x in (("audio", audio), ("video", video))}
    assert torch.allclose(share["audio"] + share["video"], torch.ones(16), atol=1e-5)
    assert 0 < share["audio"].min() < share["audio"].max() < 1
    assert torch.allclose(audio[1], audio[0] * share["audio"][:, None], atol=1e-5)
    assert torch.equal(video[2], video[0])
    assert torch.equal(audio[3], audio[0])
    assert not audio[2].any()
    assert not video[3].any()
    assert [p.tolist() for p in found.present["audio"].split(16)[1:3]] == [[True] * 16, [False] * 16]
    assert not found.present["video"].split(16)[3].any()


def test_noise_keeps_all_modalities_but_makes_one_say_nothing(toy: Toy):
    made, batch = session(toy({"audio": 6, "video": 4}), augmentation="noise")
    found = made.method.on_batch(batch, made.run)
    audio, video = (found.inputs[m].split(16) for m in ("audio", "video"))
    assert len(audio) == 3
    assert torch.equal(audio[0], audio[2])
    assert torch.equal(video[0], video[1])
    assert not torch.isclose(audio[1], audio[0]).any()
    assert abs(float(audio[1].mean())) < 0.4
    assert 0.7 < float(audio[1].std()) < 1.3
    assert all(p.all() for p in found.present.values())


def test_the_noise_of_a_row_does_not_depend_on_the_rows_beside_it(toy: Toy):
    made, batch = session(toy({"audio": 6, "video": 4}), augmentation="noise")
    half = made.run.train.gather(batch.index[:8].numpy())
    assert torch.equal(
        made.method.noise("audio", half.inputs["audio"], half, made.run),
        made.method.noise("audio", batch.inputs["audio"], batch, made.run)[:8],
    )


def test_a_sample_with_one_modality_loses_none(toy: Toy):
    made, batch = session(toy({"audio": 6, "video": 4}))
    batch.present["video"][:5] = False
    found = made.method.on_batch(batch, made.run)
    assert len(found) == 16 + 11 + 11 + 11
    assert torch.stack(list(found.present.values())).any(dim=0).all()


@pytest.mark.parametrize("augmentation", ["softhard", "noise"])
def test_the_run_says_how_well_each_copy_is_decided(toy: Toy, augmentation: str):
    made, batch = session(toy({"audio": 6, "video": 4}), augmentation=augmentation)
    batch.present["video"][:5] = False
    found = made.method.on_batch(batch, made.run)
    sizes = {"accuracy_whole": 16, "accuracy_without/audio": 11, "accuracy_without/video": 11}
    if augmentation == "softhard":
        sizes = {"accuracy_whole": 16, "accuracy_faded": 11} | sizes
    output = made.model(found)
    made.method.losses(output, found, Phase(made.model.modalities), made.run)
    right = [int(row.argmax() == label) for row, label in zip(output.fused, found.labels, strict=True)]
    first = 0
    for name, size in sizes.items():
        assert made.run.records[name] == pytest.approx([sum(right[first : first + size]) / size])
        first += size
    assert first == len(found)


def test_shares_are_uniform_on_the_simplex():
    draws = {m: torch.rand(20000) for m in ("b", "a")}
    found = simplex(draws)
    assert torch.allclose(found["a"] + found["b"], torch.ones(20000))
    # Uniform on [0, 1]: mean 1/2, variance 1/12; for three modalities mean 1/3, variance 1/18.
    assert float(found["a"].mean()) == pytest.approx(1 / 2, abs=0.01)
    assert float(found["a"].var()) == pytest.approx(1 / 12, abs=0.003)
    three = simplex(draws | {"c": torch.rand(20000)})
    assert float(three["c"].mean()) == pytest.approx(1 / 3, abs=0.01)
    assert float(three["c"].var()) == pytest.approx(1 / 18, abs=0.003)


def test_words_fade_by_being_dropped():
    words = torch.tensor([[3, 4, 5], [6, 7, 8]])
    found = faded(words, torch.tensor([0.5, 0.1]), torch.tensor([0.2, 0.6, 0.05]))
    assert found.tolist() == [[3, 0, 5], [0, 0, 8]]


def test_it_helps_where_the_strong_modality_is_missing(toy: Toy, tmp_path: Path):
    store = toy({"audio": 6, "video": 4}, rows=400)
    weak = {}
    for name in ("joint", "modality_dropout"):
        config = TrainConfig(
            data=str(store.path),
            method=Choice(name=name),
            epochs=8,
            batch_size=32,
            optimiser=OptimiserConfig(lr=0.05),
            device="cpu",
        )
        found = Predictions.load(train(config, out=tmp_path / name).folder / "predictions" / "test.npz")
        log = found.logits["video"] - found.logits["video"].max(axis=1, keepdims=True)
        log = log - np.log(np.exp(log).sum(axis=1, keepdims=True))
        weak[name] = float(-log[np.arange(len(found)), found.labels].mean())
    assert weak["modality_dropout"] < weak["joint"]
