"""OLM against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.olm import modulation_loss, relative_rates

Toy = Callable[..., Store]


def session(toy: Toy, **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="olm", **choice), device="cpu"))


def test_the_rate_of_a_decision_is_its_loss_ratio_over_the_mean():
    # ratios 0.5, 1.0, 0.75: mean 0.75
    found = relative_rates(torch.tensor([1.0, 2.0, 0.75]), torch.tensor([2.0, 2.0, 1.0]))
    assert found.tolist() == pytest.approx([2 / 3, 4 / 3, 1.0])


def test_the_loss_is_the_distance_from_the_target_magnitudes():
    weights = torch.tensor([1.0, 2.0], requires_grad=True)
    norms = torch.tensor([[3.0, 1.0], [2.0, 2.0]])
    rates = torch.tensor([0.5, 1.5])
    # scaled: 3, 2 and 2, 4; means 2.5 and 3; targets 1.25, 3.75 and 1.5, 4.5
    loss = modulation_loss(weights, norms, rates)
    assert float(loss.detach()) == pytest.approx(1.75 + 1.75 + 0.5 + 0.5)
    loss.backward()
    assert weights.grad.tolist() == pytest.approx([3.0 + 2.0, -1.0 - 2.0])  # the targets are constants
    # A row that lacks the second: its mean is that of the first alone: 2, target 1
    there = torch.tensor([[True, True], [True, False]])
    assert float(modulation_loss(weights.detach(), norms, rates, there)) == pytest.approx(1.75 + 1.75 + 1.0)


def test_losses_take_the_weighted_logits(toy: Toy):
    made = session(toy, own=0.5)
    made.method.weights.copy_(torch.tensor([2.0, 0.5, 3.0]))
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    found = made.method.losses(output, batch, made.method.phases(made.run)[0], made.run)
    expected = {
        "fused": cross_entropy(2 * output.fused, batch.labels),
        "own/audio": 0.5 * cross_entropy(0.5 * output.logits["audio"], batch.labels),
        "own/video": 0.5 * cross_entropy(3 * output.logits["video"], batch.labels),
    }
    assert {k: float(v.detach()) for k, v in found.items()} == pytest.approx(
        {k: float(v.detach()) for k, v in expected.items()}
    )
    assert torch.equal(made.method.predict(output).fused, output.fused)


def test_the_weights_take_the_steps_of_adam_on_that_loss_alone(toy: Toy):
    made = session(toy, rate=0.01)
    expected = torch.ones(3, requires_grad=True)
    adam = torch.optim.Adam([expected], lr=0.01)
    initial = None
    for batch in list(made.run.train.epoch(0))[:3]:
        output = made.model(batch)
        logits = [o.detach() for o in (output.fused, output.logits["audio"], output.logits["video"])]
        losses = [cross_entropy(w * o, batch.labels) for w, o in zip(expected.detach(), logits, strict=True)]
        now = torch.stack(losses)
        initial = now if initial is None else initial
        rates = (now / initial) / (now / initial).mean()
        adam.zero_grad()
        modulation_loss(expected, torch.stack([o.norm(dim=1) for o in logits], dim=1), rates).backward()
        adam.step()
        made.method.on_gradients(output, batch, made.method.phases(made.run)[0], made.run)
        with torch.no_grad():  # the model moves on
            for parameter in made.model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    assert torch.allclose(made.method.weights, expected.detach(), atol=1e-6)
    assert not torch.allclose(made.method.weights, torch.ones(3), atol=1e-3)


def test_a_batch_without_a_modality_is_borne(toy: Toy):
    made = session(toy)
    batch = next(made.run.train.epoch(0))
    batch.present["video"][:] = False
    made.method.on_gradients(made.model(batch), batch, made.method.phases(made.run)[0], made.run)
    assert torch.isfinite(made.method.weights).all()
    assert made.method.initial.isnan().tolist() == [False, False, True]
