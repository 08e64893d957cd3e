"""IPRM by hand: mixtures on the sphere, the weights of a step, the decision and its losses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.iprm import divergence, geodesic_mixture, rebalanced

Toy = Callable[..., Store]


def test_a_mixture_goes_along_the_great_circle():
    a, v = torch.tensor([[3.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 5.0], [1.0, 0.0]])
    found = geodesic_mixture(a, v, torch.tensor([1 / 3, 2 / 3]))
    # a right angle: 60 degrees from a; equal directions: their direction
    assert found[0].tolist() == pytest.approx([math.cos(math.pi / 3), math.sin(math.pi / 3)], abs=1e-6)
    assert found[1].tolist() == pytest.approx([1.0, 0.0])
    same = torch.ones(1, 4).requires_grad_()
    geodesic_mixture(same, 2 * torch.ones(1, 4), torch.tensor([0.5, 0.5])).sum().backward()
    assert torch.isfinite(same.grad).all()


def test_weights_favour_the_modality_that_is_nearer():
    p, q = [0.7, 0.2, 0.1], [0.3, 0.3, 0.4]
    kl = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
    assert divergence(torch.tensor([p]).log(), torch.tensor([q]).log()).item() == pytest.approx(kl, rel=1e-5)
    assert rebalanced(torch.tensor([1.0, 3.0])).tolist() == [0.75, 0.25]
    assert rebalanced(torch.zeros(2)).tolist() == [0.5, 0.5]


def by_hand(a: torch.Tensor, v: torch.Tensor, weights: list[float]) -> torch.Tensor:
    a, v = a / a.norm(), v / v.norm()
    angle = math.acos(min(1.0, max(-1.0, float((a @ v).detach()))))
    return (math.sin(weights[0] * angle) * a + math.sin(weights[1] * angle) * v) / math.sin(angle)


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_losses_and_the_decision(modalities: int, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    store = toy(dict.fromkeys(names, 4), rows=64)
    run = Session(TrainConfig(data=str(store.path), method=Choice(name="iprm"), batch_size=12, device="cpu"))
    method, state = run.method, run.run
    batch = next(state.train.epoch(0))
    batch.present["m1"][:3], batch.inputs["m1"][:3] = False, 0
    method.probed[:] = torch.tensor([0.75, 0.25])
    output = method.fuse(run.model(batch))
    found = method.losses(output, batch, method.phases(state)[0], state)
    pairs = [(a, v) for i, a in enumerate(names) for v in names[i + 1 :]]
    assert set(found) == {f"own/{m}" for m in names} | {f"mixed.{a}.{v}" for a, v in pairs}
    assert method.weights.tolist() == [pytest.approx([0.8 * 0.5 + 0.2 * 0.75, 0.8 * 0.5 + 0.2 * 0.25])] * len(pairs)
    for k, (a, v) in enumerate(pairs):
        rows = [i for i in range(12) if batch.present[a][i] and batch.present[v][i]]
        apart = [0.0, 0.0]
        for i in rows:
            mixed = by_hand(output.features[a][i], output.features[v][i], [0.55, 0.45])
            q = method.mixed[k](mixed).detach().softmax(0)
            for side, m in enumerate((a, v)):
                p = output.logits[m][i].detach().softmax(0)
                apart[side] += float((p * (p / q).log()).sum())
        weights = [apart[1] / sum(apart), apart[0] / sum(apart)]
        assert method.probed[k].tolist() == pytest.approx(weights, rel=1e-3)
        loss = sum(
            cross_entropy(
                method.mixed[k](by_hand(output.features[a][i], output.features[v][i], weights)), batch.labels[i]
            ).item()
            for i in rows
        )
        assert found[f"mixed.{a}.{v}"].item() == pytest.approx(loss / len(rows), rel=1e-3)
    decision = method.predict(run.model(batch)).fused
    for i in (0, 7):
        there = [m for m in names if batch.present[m][i]]
        expected = sum(output.logits[m][i] for m in there)
        for k, (a, v) in enumerate(pairs):
            if a in there and v in there:
                mixed = by_hand(output.features[a][i], output.features[v][i], method.weights[k].tolist())
                expected = expected + method.mixed[k](mixed)
        assert torch.allclose(decision[i], expected, atol=1e-4)
