"""What a batch becomes, sample by sample, and that the model then bears a missing modality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

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


def test_softhard_decides_the_batch_faded_and_without_each_modality(toy: Toy):
    made, batch = session(toy({"audio": 6, "video": 4}))
    found = made.method.on_batch(batch, made.run)
    assert len(found) == 32  # each input is encoded once, and once as it is faded
    assert torch.equal(found.labels, batch.labels.repeat(2))
    share = {m: (found.inputs[m][16:] / batch.inputs[m]).mean(dim=1) for m in found.inputs}
    assert torch.allclose(share["audio"] + share["video"], torch.ones(16), atol=1e-5)
    assert 0 < share["audio"].min() < share["audio"].max() < 1
    for m, x in found.inputs.items():
        assert torch.equal(x[:16], batch.inputs[m])
        assert torch.allclose(x[16:], batch.inputs[m] * share[m][:, None], atol=1e-5)
    encoders, fusion = made.model.encoders, made.model.fusion
    a, v = (encoders[m](batch.inputs[m]) for m in ("audio", "video"))
    faded_a, faded_v = (encoders[m](found.inputs[m][16:]) for m in ("audio", "video"))
    nothing = torch.zeros_like(a)
    rows = {"whole": (a, v), "faded": (faded_a, faded_v), "without/audio": (nothing, v), "without/video": (a, nothing)}
    output = made.model(found)
    copies = made.method.copies(output)
    assert list(copies) == list(rows)
    losses = []
    for name, (x, y) in rows.items():
        assert torch.allclose(copies[name].inputs["audio"], x, atol=1e-6)
        assert torch.allclose(copies[name].inputs["video"], y, atol=1e-6)
        assert bool(copies[name].present["audio"].all()) == (name != "without/audio")
        logits = x @ fusion.weight("audio").T + y @ fusion.weight("video").T + fusion.shared_bias
        losses += cross_entropy(logits, batch.labels, reduction="none").tolist()
    loss = made.method.losses(output, found, Phase(made.model.modalities), made.run)["fused"]
    assert len(losses) == 64
    assert loss.item() == pytest.approx(sum(losses) / 64, rel=1e-5)


def test_noise_keeps_all_modalities_but_makes_one_say_nothing(toy: Toy):
    made, batch = session(toy({"audio": 6, "video": 4}), augmentation="noise")
    found = made.method.on_batch(batch, made.run)
    noise = {m: x[16:] for m, x in found.inputs.items()}
    drawn = torch.cat([x.flatten() for x in noise.values()])
    assert abs(float(drawn.mean())) < 0.3
    assert 0.8 < float(drawn.std()) < 1.2
    copies = made.method.copies(made.model(found))
    assert list(copies) == ["whole", "without/audio", "without/video"]
    encode = {m: made.model.encoders[m] for m in noise}
    assert torch.allclose(copies["without/audio"].inputs["audio"], encode["audio"](noise["audio"]), atol=1e-6)
    assert torch.allclose(copies["without/audio"].inputs["video"], encode["video"](batch.inputs["video"]), atol=1e-6)
    assert torch.allclose(copies["without/video"].inputs["video"], encode["video"](noise["video"]), atol=1e-6)
    assert all(p.all() for copy in copies.values() for p in copy.present.values())


def test_a_sample_with_one_modality_loses_none(toy: Toy):
    made, batch = session(toy({"audio": 6, "video": 4}))
    batch.present["video"][:5] = False
    copies = made.method.copies(made.model(made.method.on_batch(batch, made.run)))
    assert [len(copy.inputs["audio"]) for copy in copies.values()] == [16, 11, 11, 11]
    assert all(bool(torch.stack(list(c.present.values())).any(dim=0).all()) for c in copies.values())


@pytest.mark.parametrize("augmentation", ["softhard", "noise"])
def test_the_run_says_how_well_each_copy_is_decided(toy: Toy, augmentation: str):
    made, batch = session(toy({"audio": 6, "video": 4}), augmentation=augmentation)
    batch.present["video"][:5] = False
    found = made.method.on_batch(batch, made.run)
    output = made.model(found)
    made.method.losses(output, found, Phase(made.model.modalities), made.run)
    sizes = {"whole": 16, "without/audio": 11, "without/video": 11} | (
        {"faded": 11} if augmentation == "softhard" else {}
    )
    assert set(made.run.records) == {f"accuracy_{name}" for name in sizes}
    for name, copy in made.method.copies(output).items():
        assert len(copy.inputs["audio"]) == sizes[name]
        decided = made.model.decide(copy.inputs, copy.present).fused
        right = [int(row.argmax() == y) for row, y in zip(decided, batch.labels[copy.rows], strict=True)]
        assert made.run.records[f"accuracy_{name}"] == pytest.approx([sum(right) / len(right)])


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
