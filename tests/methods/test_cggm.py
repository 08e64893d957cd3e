"""CGGM against numbers worked out by hand, and its closed-form gradient against autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.cggm import direction_loss, modulation, output_gradient

Toy = Callable[..., Store]


def session(toy: Toy, fusion: str = "concat", **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="cggm", **choice), fusion=Choice(name=fusion))
    return Session(config.model_copy(update={"device": "cpu"}))


def test_the_modality_that_gains_less_gets_the_larger_share():
    # d = 0.3, 0.1: B = 0.1 / 0.4, 0.3 / 0.4
    found = modulation(torch.tensor([0.2, 0.5]), torch.tensor([0.5, 0.6]))
    assert found.tolist() == pytest.approx([0.25, 0.75])
    # d = 0.3, 0.1, 0.2
    found = modulation(torch.zeros(3), torch.tensor([0.3, 0.1, 0.2]))
    assert found.tolist() == pytest.approx([0.5, 5 / 6, 2 / 3])
    # d = 0.2, -0.1: -1 and 2, as the formula says; bounded if asked
    changed = torch.tensor([0.2, 0.4]), torch.tensor([0.4, 0.3])
    assert modulation(*changed).tolist() == pytest.approx([-1.0, 2.0], rel=1e-4)
    assert modulation(*changed, limit=1.5).tolist() == pytest.approx([0.0, 1.5])
    assert modulation(torch.tensor([0.2, 0.4]), torch.tensor([0.2, 0.4])).tolist() == [0.5, 0.5]


def test_the_direction_loss_is_zero_for_parallel_gradients():
    assert float(direction_loss(torch.tensor([0.25, 0.75]), torch.tensor([1.0, 1.0]))) == 0.0
    found = direction_loss(torch.tensor([-1.0, 2.0]), torch.tensor([0.5, -0.5]))
    assert float(found) == pytest.approx(((1 + 0.5) + (2 + 1)) / 2)


def test_the_closed_form_is_the_gradient_to_the_weights():
    z, weight = torch.randn(5, 3), torch.randn(4, 3, requires_grad=True)
    labels, present = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([True, True, False, True, True])
    logits = z @ weight.T
    loss = cross_entropy(logits[present], labels[present])
    (expected,) = torch.autograd.grad(loss, weight)
    assert torch.allclose(output_gradient(z, logits.detach(), labels, present), expected, atol=1e-6)


def test_size_and_direction_reach_the_model(toy: Toy):
    made = session(toy, rho=1.5, limit=1.2, direction=0.3)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    phase = made.method.phases(made.run)[0]
    losses = made.method.losses(output, batch, phase, made.run)
    assert set(losses) == {"fused", "probe/audio", "probe/video", "direction"}
    right, cosines = [], []
    for m in ("audio", "video"):
        z = output.features[m].detach()
        probe = made.method.probes[m]
        right.append(float((probe(z).argmax(dim=1) == batch.labels).float().mean()))
        weight = made.model.fusion.weights[m]
        (fused,) = torch.autograd.grad(losses["fused"], weight, retain_graph=True)
        (own,) = torch.autograd.grad(cross_entropy(probe(z), batch.labels), probe.weight)
        cosines.append(float((own * fused).sum() / own.norm() / fused.norm()))
        for part in (made.model.encoders[m], made.model.fusion):  # the direction reaches both
            found = torch.autograd.grad(
                losses["direction"], list(part.parameters()), retain_graph=True, allow_unused=True
            )
            assert any(g is not None and bool(g.any()) for g in found)
    coefficients = [min(b / sum(right), 1.2) for b in right[::-1]]  # from an accuracy of 0
    assert made.method.coefficients.tolist() == pytest.approx(coefficients)
    expected = sum(b - b * cos for b, cos in zip(coefficients, cosines, strict=True)) / 2
    assert float(losses["direction"].detach()) == pytest.approx(0.3 * expected, rel=1e-4)
    made.method.backward(losses, made.run)
    before = {m: [p.grad.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    made.method.on_gradients(output, batch, phase, made.run)
    for place, m in enumerate(("audio", "video")):
        for old, parameter in zip(before[m], made.model.encoders[m].parameters(), strict=True):
            assert torch.allclose(parameter.grad, 1.5 * coefficients[place] * old)


def test_the_direction_needs_an_additive_fusion(toy: Toy):
    with pytest.raises(ConfigError, match="additive"):
        session(toy, "gated")
    session(toy, "gated", direction=0.0)
