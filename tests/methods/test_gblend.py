"""G-Blend against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.gblend import blending_weights

Toy = Callable[..., Store]


def test_weights_are_generalisation_over_squared_overfitting():
    before = torch.tensor([[1.0, 1.0, 1.0], [1.1, 1.1, 1.1]])
    after = torch.tensor([[0.2, 0.6, 0.9], [0.8, 0.9, 1.2]])
    # G = 0.3, 0.2, -0.1 -> 0;  O = 0.6 - 0.1, 0.3 - 0.1, 0.3 - 0.1
    raw = [0.3 / 0.25, 0.2 / 0.04, 0.0]
    assert blending_weights(before, after).tolist() == pytest.approx([x / sum(raw) for x in raw], rel=1e-5)
    assert blending_weights(after, before) is None or blending_weights(after, before)[0] == 0
    assert blending_weights(before, before + 0.5) is None


def test_overfitting_below_the_floor_counts_as_the_floor():
    before = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    after = torch.tensor([[0.5, 0.5], [0.5, 0.7]])
    raw = [0.5 / 0.1**2, 0.3 / 0.2**2]
    assert blending_weights(before, after, floor=0.1).tolist() == pytest.approx([x / sum(raw) for x in raw], rel=1e-5)


def test_losses_are_means_over_the_samples_and_weights_follow_a_super_epoch(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    made = Session(
        TrainConfig(data=str(store.path), method=Choice(name="gblend", super_epoch=2), epochs=3, device="cpu")
    )
    made.method.on_epoch_start(made.run)
    assert made.method.weights.tolist() == pytest.approx([1 / 3] * 3)
    for place, loader in enumerate((made.run.train, made.run.validation)):
        batch = loader.gather(loader.split_rows)
        output = made.model.eval()(batch)
        for position, logits in enumerate((output.fused, output.logits["audio"], output.logits["video"])):
            losses = []
            for row, y in zip(logits.tolist(), batch.labels.tolist(), strict=True):
                losses.append(math.log(sum(math.exp(x) for x in row)) - row[y])
            assert float(made.method.measured[place, position]) == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    first = made.method.measured.clone()
    made.after_epoch = lambda run, state: False  # type: ignore[method-assign]
    made.fit()
    assert not torch.equal(made.method.measured, first)
    assert made.method.weights.tolist() == pytest.approx(blending_weights(first, made.method.measured).tolist())
    batch = next(made.run.train.epoch(0))
    found = made.method.losses(made.model(batch), batch, made.method.phases(made.run)[0], made.run)
    own = float(torch.nn.functional.cross_entropy(made.model(batch).logits["video"], batch.labels).detach())
    assert float(found["own/video"].detach()) == pytest.approx(float(made.method.weights[2]) * own, rel=1e-4)
