"""ARL against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.arl import asymmetry

Toy = Callable[..., Store]


def session(toy: Toy, **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="arl", **choice), device="cpu"))


def softmax(values: list[float]) -> list[float]:
    odds = [math.exp(x) for x in values]
    return [x / sum(odds) for x in odds]


def test_the_surer_and_quieter_modality_gets_the_larger_gradient():
    # c = 3/4, 1/4; h = 2/5, 3/5 (above the floor); w = 1/h shares: 2.5, 5/3 -> 3/5, 2/5
    expected = softmax([8 * 0.25 * 0.6, 8 * 0.75 * 0.4])
    found = asymmetry({"a": 6.0, "v": 2.0}, {"a": 0.8, "v": 1.2}, temperature=8.0)
    assert [found["a"], found["v"]] == pytest.approx(expected)
    # h_a = 0.1 is raised to 0.3: 1/h = 10/3, 10/9 -> 3/4, 1/4
    found = asymmetry({"a": 1.0, "v": 1.0}, {"a": 0.1, "v": 0.9}, temperature=4.0)
    assert [found["a"], found["v"]] == pytest.approx(softmax([4 * 0.5 * 0.75, 4 * 0.5 * 0.25]))


def test_three_modalities_use_the_mean_contribution_of_the_others():
    # c = 1/2, 1/4, 1/4, so the others: 1/4, 3/8, 3/8; all equally unsure: w = 1/3
    found = asymmetry({"a": 2.0, "b": 1.0, "c": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, temperature=6.0)
    assert [found[m] for m in "abc"] == pytest.approx(softmax([0.5, 0.75, 0.75]))


def test_the_weights_reach_the_gradients(toy: Toy):
    made = session(toy, starts=0, gamma=3.0)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    phase = made.method.phases(made.run)[0]
    losses = made.method.losses(output, batch, phase, made.run)
    made.method.backward(losses, made.run)
    before = {m: [p.grad.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    made.method.on_gradients(output, batch, phase, made.run)
    magnitude, entropy = {}, {}
    for m, o in output.logits.items():
        rows = o.detach().tolist()
        magnitude[m] = sum(abs(x) for row in rows for x in row) / len(rows)
        entropy[m] = sum(-p * math.log(p) for row in rows for p in softmax(row)) / len(rows)
    expected = asymmetry(magnitude, entropy, 8.0)
    assert abs(expected["audio"] - 0.5) > 0.01
    for m, encoder in made.model.encoders.items():
        for old, parameter in zip(before[m], encoder.parameters(), strict=True):
            assert torch.allclose(parameter.grad, (1 + expected[m]) * old, rtol=1e-4, atol=1e-8)


def test_before_the_start_own_losses_count_once_and_gradients_stay(toy: Toy):
    made = session(toy, starts=2, gamma=5.0)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    phase = made.method.phases(made.run)[0]
    early = made.method.losses(output, batch, phase, made.run)
    made.method.on_gradients(output, batch, phase, made.run)
    assert not any(name.startswith("asymmetry") for name in made.run.records)
    made.run.epoch = 2
    late = made.method.losses(output, batch, phase, made.run)
    assert float(late["own/audio"].detach()) == pytest.approx(5 * float(early["own/audio"].detach()), rel=1e-5)
    assert torch.equal(late["fused"], early["fused"])
