"""MLB against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.mlb import modulation

Toy = Callable[..., Store]


def session(toy: Toy, **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="mlb", **choice), device="cpu"))


def test_the_one_behind_is_sped_up_and_the_one_ahead_is_slowed():
    # rho_a = 0.3 / 0.6 = 1/2, rho_v = 2
    found = modulation({"a": 0.6, "v": 0.3}, alpha=0.8)
    assert found == pytest.approx({"a": 1 + math.tanh(0.8 * -0.5), "v": 1 + math.tanh(0.8)})
    wide = modulation({"a": 0.6, "v": 0.3}, alpha=0.5, beta=10.0)
    assert wide == pytest.approx({"a": 1 + math.tanh(-0.25), "v": 1 + 9 * math.tanh(0.5)})


def test_three_modalities_are_compared_with_the_mean_of_the_others():
    # the others' means: 0.5, 0.4, 0.3; rho = 2.5, 1, 0.5
    found = modulation({"a": 0.2, "b": 0.4, "c": 0.6}, alpha=1.0)
    assert found == pytest.approx({"a": 1 + math.tanh(1.5), "b": 1.0, "c": 1 + math.tanh(-0.5)})


def test_equal_confidence_and_alpha_zero_change_nothing():
    assert modulation({"a": 0.4, "v": 0.4}, 0.8, 10.0) == {"a": 1.0, "v": 1.0}
    assert modulation({"a": 0.4, "v": 0.1}, 0.0) == {"a": 1.0, "v": 1.0}
    assert modulation({"a": 0.4, "v": 0.0}, 0.8, 3.0) == pytest.approx({"a": 1 + math.tanh(-0.8), "v": 3.0})
    assert modulation({"a": 0.4}, 0.8) == {"a": 1.0}


def test_gradients_of_all_losses_are_scaled(toy: Toy):
    made = session(toy)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    losses = made.method.losses(output, batch, made.method.phases(made.run)[0], made.run)
    assert set(losses) == {"fused", "own/audio", "own/video"}
    made.method.backward(losses, made.run)
    before = {m: [p.grad.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    made.method.on_gradients(output, batch, made.method.phases(made.run)[0], made.run)
    odds = {m: o.detach().exp() for m, o in output.logits.items()}
    rows = range(len(batch))
    scores = {m: sum(float(x[i, batch.labels[i]] / x[i].sum()) for i in rows) / len(batch) for m, x in odds.items()}
    expected = modulation(scores, 0.8)
    for m, encoder in made.model.encoders.items():
        for old, parameter in zip(before[m], encoder.parameters(), strict=True):
            assert torch.allclose(parameter.grad, expected[m] * old, rtol=1e-4, atol=1e-8)


def test_the_own_losses_can_be_scaled_instead(toy: Toy):
    plain, scaled = session(toy), session(toy, scale="losses", own=0.5)
    batch = next(plain.run.train.epoch(0))
    found = []
    for made in (plain, scaled):
        losses = made.method.losses(made.model(batch), batch, made.method.phases(made.run)[0], made.run)
        found.append({name: float(loss.detach()) for name, loss in losses.items()})
    for m in ("audio", "video"):
        factor = scaled.run.records[f"modulation/{m}"][0]
        assert found[1][f"own/{m}"] == pytest.approx(0.5 * factor * found[0][f"own/{m}"], rel=1e-5)
    assert "modulation/audio" not in plain.run.records  # measured once a step, where it is used
