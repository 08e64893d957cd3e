"""UME by hand: two averages over the modalities that a sample has; its training is that of `unimodal`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import train

Toy = Callable[..., Store]


def config(toy: Toy, name: str, **options: object) -> TrainConfig:
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name=name, **options)
    return TrainConfig(data=str(store.path), method=choice, fusion=Choice(name="sum"), epochs=1, device="cpu")


def test_the_mean_of_probabilities_is_over_what_a_sample_has(toy: Toy):
    run = Session(config(toy, "ume", average="probabilities"))
    batch = next(run.run.train.epoch(0))
    batch.present["text"][:5] = False
    output = run.method.predict(run.model(batch))
    for i in range(len(batch)):
        have = [output.logits[m][i].softmax(dim=0) for m in run.model.modalities if batch.present[m][i]]
        assert len(have) == (2 if i < 5 else 3)
        assert torch.allclose(output.fused[i].exp(), sum(have) / len(have), atol=1e-6)


def test_the_mean_of_logits_is_the_decision(toy: Toy):
    run = Session(config(toy, "ume"))
    batch = next(run.run.train.epoch(0))
    batch.present["text"][:5] = False
    output = run.method.predict(run.model(batch))
    for i in range(len(batch)):
        have = [output.logits[m][i] for m in run.model.modalities if batch.present[m][i]]
        assert len(have) == (2 if i < 5 else 3)
        assert torch.allclose(output.fused[i], sum(have) / len(have), atol=1e-6)
    assert torch.allclose(sum(output.contribution.values()), output.fused, atol=1e-6)


def test_it_trains_as_unimodal_does(toy: Toy, tmp_path: Path):
    for name in ("ume", "unimodal"):
        train(config(toy, name), out=tmp_path / name)
    a, b = (torch.load(tmp_path / n / "last.pt", weights_only=True)["model"] for n in ("ume", "unimodal"))
    assert all(torch.equal(value, b[key]) for key, value in a.items())
