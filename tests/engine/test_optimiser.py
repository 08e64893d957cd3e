"""The fused optimisers step as the formulas say, whatever order in memory a gradient has, and go on from a saved state."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from mmbal.engine.config import OptimiserConfig
from mmbal.engine.optimiser import build_optimiser, load_optimiser, take_step

LAST = torch.channels_last


def of_random(seed: int) -> torch.Tensor:
    return torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(seed))


def part() -> nn.Module:
    """A convolution's weight, with its channels last, and one that gets a gradient only later."""
    module = nn.Module()
    module.early = nn.Parameter(of_random(0).contiguous(memory_format=LAST))
    module.late = nn.Parameter(of_random(1))
    return module


def stepped(module: nn.Module, optimiser: torch.optim.Optimizer, k: int) -> None:
    """Step k, whose gradients have the other order in memory than their parameters."""
    module.early.grad = of_random(10 + k).contiguous()
    module.late.grad = of_random(20 + k).contiguous(memory_format=LAST) if k else None
    take_step(optimiser)


def test_momentum_by_hand_with_gradients_that_come_late_and_lie_otherwise_in_memory():
    module = part()
    optimiser = build_optimiser({"part": module}, OptimiserConfig(lr=0.1, momentum=0.9, weight_decay=0.01))
    assert optimiser.defaults["fused"]
    expected = {"early": of_random(0).numpy(), "late": of_random(1).numpy()}
    speed = {"early": np.zeros(1), "late": np.zeros(1)}
    for k in range(3):
        stepped(module, optimiser, k)
        for name, seed in (("early", 10), ("late", 20)):
            if name == "early" or k:
                slope = of_random(seed + k).numpy() + 0.01 * expected[name]
                speed[name] = 0.9 * speed[name] + slope
                expected[name] = expected[name] - 0.1 * speed[name]
            np.testing.assert_allclose(getattr(module, name).detach().numpy(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_saved_state_goes_on_to_the_same_bits(name: str):
    config = OptimiserConfig(name=name, lr=0.01)
    whole = part()
    optimiser = build_optimiser({"part": whole}, config)
    for k in range(2):
        stepped(whole, optimiser, k)
    file = io.BytesIO()
    torch.save({"model": whole.state_dict(), "optimiser": optimiser.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = part()
    again.load_state_dict(saved["model"])
    states = saved["optimiser"]["state"].values()
    for state in states:  # as from a version in which the weights had another layout
        state |= {key: x.clone(memory_format=torch.contiguous_format) for key, x in state.items() if x is not None}
    other = build_optimiser({"part": again}, config)
    load_optimiser(other, saved["optimiser"])
    for k in range(2, 4):
        stepped(whole, optimiser, k)
        stepped(again, other, k)
    assert torch.equal(whole.early, again.early)
    assert torch.equal(whole.late, again.late)
