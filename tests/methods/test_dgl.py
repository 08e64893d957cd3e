"""DGL: which loss reaches which parameter, against gradients of the losses one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.dgl import fused_loss

Toy = Callable[..., Store]


def session(toy: Toy, fusion: str = "concat", **choice: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="dgl", **choice), fusion=Choice(name=fusion))
    return Session(config.model_copy(update={"device": "cpu"}))


def test_the_fused_loss_gives_no_gradient_to_features(toy: Toy):
    fusion = session(toy).model.fusion
    z = {m: torch.randn(4, d, requires_grad=True) for m, d in fusion.dims.items()}
    there = {m: torch.ones(4, dtype=torch.bool) for m in z}
    labels = torch.tensor([0, 1, 2, 0])
    loss = fused_loss(fusion, z, there, labels)
    logits = sum(z[m] @ fusion.weight(m).T for m in z) + fusion.shared_bias
    assert float(loss.detach()) == pytest.approx(float(cross_entropy(logits, labels).detach()), rel=1e-5)
    loss.backward()
    assert all(x.grad is None for x in z.values())
    assert fusion.shared_bias.grad is not None


@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_each_part_learns_from_its_own_loss_alone(toy: Toy, fusion: str):
    made = session(toy, fusion, alpha=3.0)
    model, batch = made.model, next(made.run.train.epoch(0))
    output = model(batch)
    losses = made.method.losses(output, batch, made.method.phases(made.run)[0], made.run)
    assert set(losses) == {"fused", "own/audio", "own/text", "own/video"}
    made.method.backward(losses, made.run)
    again = model(batch)
    for m, encoder in model.encoders.items():
        own = cross_entropy(again.logits[m], batch.labels)
        expected = torch.autograd.grad(own, list(encoder.parameters()), retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(encoder.parameters(), expected, strict=True):
            assert torch.allclose(parameter.grad, 3 * gradient, atol=1e-6)
    head = list(model.fusion.parameters())
    expected = torch.autograd.grad(cross_entropy(again.fused, batch.labels), head)
    for parameter, gradient in zip(head, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


def test_frozen_encoders_leave_the_fusion_to_learn(toy: Toy):
    made = session(toy)
    made.model.encoders.requires_grad_(False)
    batch = next(made.run.train.epoch(0))
    losses = made.method.losses(made.model(batch), batch, made.method.phases(made.run)[0], made.run)
    made.method.backward(losses, made.run)
    assert all(p.grad is not None for p in made.model.fusion.parameters())
