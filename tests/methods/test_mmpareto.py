"""MMPareto by hand: the min-norm weights, the length of the combined gradient, and who gets it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.mmpareto import pareto_gradient, pareto_weights

Toy = Callable[..., Store]


def test_weights_are_those_of_the_shortest_combination():
    fused, own = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 2.0])
    # |a (1, 0) + (1 - a)(-1, 2)|^2 = (2a - 1)^2 + 4 (1 - a)^2, least at a = 3/4
    assert pareto_weights(fused, own) == pytest.approx((0.75, 0.25))
    best = min(range(1001), key=lambda k: (2 * k / 1000 - 1) ** 2 + 4 * (1 - k / 1000) ** 2)
    assert best / 1000 == 0.75
    assert pareto_weights(fused, torch.tensor([0.5, 9.0])) == (0.5, 0.5)
    assert pareto_weights(fused, torch.tensor([0.0, 1.0])) == (0.5, 0.5)  # a right angle is no conflict
    assert pareto_weights(fused, torch.zeros(2)) == (0.5, 0.5)


def test_the_combined_gradient_is_as_long_as_the_sum_at_least():
    fused, own = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 2.0])
    # h = 1.5 (1, 0) + 0.5 (-1, 2) = (1, 1), of length sqrt 2; the sum (0, 2) has length 2
    found = pareto_gradient(fused, own, (0.75, 0.25), gamma=1.5)
    assert found.tolist() == pytest.approx([1.5 * math.sqrt(2)] * 2)
    # no conflict: the sum, times gamma
    assert pareto_gradient(fused, torch.tensor([1.0, 1.0]), (0.5, 0.5), 1.5).tolist() == pytest.approx([3.0, 1.5])
    # both losses fall along it
    assert float(found @ fused) > 0 < float(found @ own)


@pytest.mark.parametrize("rescale", ["encoder", "tensor"])
def test_encoders_get_it_and_the_fusion_the_sum(rescale: str, toy: Toy):
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="mmpareto", gamma=1.25, rescale=rescale)
    run = Session(TrainConfig(data=str(store.path), method=choice, device="cpu"))
    model, method, state = run.model, run.method, run.run
    batch = next(state.train.epoch(0))
    batch.present["text"][:6], batch.inputs["text"][:6] = False, 0
    phase = method.phases(state)[0]

    def gradients(name: str) -> list[torch.Tensor]:
        model.zero_grad()
        losses = method.losses(model(batch), batch, phase, state)
        torch.stack([loss for key, loss in losses.items() if name in ("all", key)]).sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    whole = gradients("all")
    model.zero_grad()
    losses = method.losses(model(batch), batch, phase, state)
    method.backward(losses, state)
    method.on_gradients(model(batch), batch, phase, state)
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    for m in model.modalities:
        parameters = list(model.encoders[m].parameters())
        fused = torch.autograd.grad(method.losses(model(batch), batch, phase, state)["fused"], parameters)
        own = torch.autograd.grad(method.losses(model(batch), batch, phase, state)[f"own/{m}"], parameters)
        dot = sum(float((f * u).sum()) for f, u in zip(fused, own, strict=True))
        squares = [sum(float((g**2).sum()) for g in gs) for gs in (fused, own)]
        share = 0.5 if dot >= 0 else (squares[1] - dot) / (squares[0] + squares[1] - 2 * dot)
        combined = [2 * share * f + 2 * (1 - share) * u for f, u in zip(fused, own, strict=True)]
        sums = [f + u for f, u in zip(fused, own, strict=True)]

        def stretch(values: list[torch.Tensor], total: list[torch.Tensor]) -> float:
            return max(
                1.0, math.sqrt(sum(float((t**2).sum()) for t in total) / sum(float((v**2).sum()) for v in values))
            )

        for i, (name, _) in enumerate(model.encoders[m].named_parameters()):
            longer = stretch(combined, sums) if rescale == "encoder" else stretch([combined[i]], [sums[i]])
            assert torch.allclose(found[f"encoders.{m}.{name}"], 1.25 * longer * combined[i], atol=1e-5)
    names = [name for name, _ in model.named_parameters()]
    for name, before in zip(names, whole, strict=True):
        if name.startswith("fusion"):
            assert torch.allclose(found[name], before, atol=1e-6)


def test_a_frozen_encoder_is_left_alone(toy: Toy, tmp_path):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(
        data=str(store.path), method=Choice(name="mmpareto"), freeze_encoders=True, epochs=1, device="cpu"
    )
    run = Session(config)
    run.fit()
    assert run.history[-1]["epoch"] == 1
