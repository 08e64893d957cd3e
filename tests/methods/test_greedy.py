"""Balanced multi-modal learning against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.greedy import conditional_speeds, learning_speed
from mmbal.methods.parts.greedy import CrossGates

Toy = Callable[..., Store]


def session(toy: Toy, fusion: str = "concat", **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="greedy", **choice), fusion=Choice(name=fusion))
    return Session(config.model_copy(update={"device": "cpu", "epochs": 4}))


def step(made: Session) -> None:
    batch = next(made.run.train.epoch(0))
    made.model.zero_grad()
    made.method.zero_grad()
    output = made.method.fuse(made.model(batch))
    phase = made.method.phases(made.run)[0]
    made.method.backward(made.method.losses(output, batch, phase, made.run), made.run)
    made.method.on_gradients(output, batch, phase, made.run)


def test_the_speed_is_the_gradient_over_the_size():
    a, b = nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False)
    a.weight.data, b.weight.data = torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0]])
    a.weight.grad, b.weight.grad = torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0]])
    assert learning_speed(a) == pytest.approx(5 / 25)
    assert learning_speed(a, b) == pytest.approx(30 / 50)
    assert learning_speed(nn.Linear(1, 1)) == 0.0
    found = conditional_speeds(torch.tensor([2.0, 1.0]), torch.tensor([4.0, 1.0]))
    assert found.tolist() == pytest.approx([math.log(0.5), 0.0])  # natural logarithms


def test_gates_are_one_at_first_and_their_running_mean_is_their_own():
    gates = CrossGates({"a": 2, "v": 1}, ratio=3.0)
    z = {"a": torch.randn(4, 2), "v": torch.randn(4, 1)}
    assert all(torch.equal(g, torch.ones_like(g)) for g in gates(z).values())
    for value in (1.0, 2.0, 6.0):
        gates.observe({"a": torch.full((2,), value), "v": torch.full((1,), 10 * value)})
    assert gates.average("a").tolist() == pytest.approx([3.0, 3.0])
    assert gates.average("v").tolist() == pytest.approx([30.0])
    tokens = {"a": torch.randn(4, 5, 2), "v": torch.randn(4, 3, 1)}
    with torch.no_grad():
        gates.excite["a"].weight.add_(0.3)
    pooled = {m: x.mean(dim=1) for m, x in tokens.items()}
    assert torch.allclose(gates(tokens)["a"], gates(pooled)["a"])


def test_a_window_opens_for_the_fastest_and_lasts_its_steps(toy: Toy):
    made = session(toy, epsilon=0.0, window=3, starts=1)
    step(made)
    assert int(made.method.left) == 0  # before the epoch that it starts in
    made.run.epoch = 1
    first = made.method.speeds.clone()
    step(made)
    assert (made.method.speeds > first).all()
    summed = made.method.speeds.clone()
    speed = [math.log(float(b) / float(m)) for b, m in zip(*summed, strict=True)]
    assert int(made.method.left) == 3
    assert int(made.method.alone) == speed.index(max(speed))
    for left in (2, 1, 0):
        step(made)
        assert int(made.method.left) == left
        assert torch.equal(made.method.speeds, summed)  # not summed within a window


@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_alone_a_modality_gets_nothing_from_the_others(toy: Toy, fusion: str):
    made = session(toy, fusion)
    with torch.no_grad():
        for layer in made.method.cross.excite.values():
            layer.weight.normal_()
    made.method.left.fill_(1)
    made.method.alone.fill_(0)
    made.method.cross.average("audio").fill_(0.5)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    gates = made.method.cross(output.inputs)
    found = made.method.fuse(output).fused
    z = {"audio": 0.5 * output.inputs["audio"], "video": gates["video"] * output.inputs["video"]}
    assert torch.allclose(found, made.model.decide(z, output.present).fused, atol=1e-5)
    made.method.eval()  # in a test the gates are open
    z["audio"] = gates["audio"] * output.inputs["audio"]
    tested = made.method.predict(output)
    assert torch.allclose(tested.fused, made.model.decide(z, output.present).fused, atol=1e-5)
    alone = {"audio": output.inputs["audio"], "video": torch.zeros_like(output.inputs["video"])}
    own = {m: made.method.cross(alone)[m] * alone[m] for m in alone}
    assert torch.allclose(tested.logits["audio"], made.model.decide(own, output.present).logits["audio"], atol=1e-5)
