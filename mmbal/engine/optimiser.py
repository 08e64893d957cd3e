"""The optimiser of a run and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmbal.engine.config import OptimiserConfig
from mmbal.errors import MmbalError

FUSED = ("cpu", "cuda")  # devices whose fused steps are tried


def build_optimiser(modules: dict[str, nn.Module], config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser over every parameter that learns, with one group for each part; a group's ``part`` is its name.

    On a CPU and on CUDA it is torch's fused one, which reads and writes each number once a step: see docs/performance.md.
    Raises MmbalError where nothing learns.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in module.parameters() if p.requires_grad], "part": name}
        for name, module in modules.items()
    ]
    learning = [group for group in groups if group["params"]]
    if not learning:
        raise MmbalError("Nothing is left to train: every part is frozen.", "Drop --freeze-encoders.")
    every = [p for group in learning for p in group["params"]]
    fused = all(p.device.type in FUSED and is_dense(p) for p in every)
    if config.name != "sgd":
        kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
        return kind(learning, lr=config.lr, weight_decay=config.weight_decay, fused=fused)
    optimiser = torch.optim.SGD(
        learning, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=fused
    )
    if fused and config.momentum:
        # The fused step takes no parameters of which some have had a gradient before and some have not. Momentum that
        # begins at 0 gives the first step that torch's own beginning gives.
        for p in every:
            optimiser.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimiser


def take_step(optimiser: torch.optim.Optimizer) -> None:
    """One step on the gradients that are there.

    A fused step pairs the numbers of a parameter and of its gradient by their order in memory. Autograd gives both the same
    order; what a method has put in a gradient's place may have another one.
    """
    for p in trained_by(optimiser):
        if p.grad is not None:
            p.grad = ordered_as(p, p.grad)
    optimiser.step()


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put a saved state back, in each parameter's order in memory. A state that was not made by a fused one goes on so."""
    optimiser.load_state_dict(state)
    for p in trained_by(optimiser):
        own = optimiser.state.get(p, {})
        own |= {name: ordered_as(p, x) for name, x in own.items() if isinstance(x, Tensor) and x.shape == p.shape}


def is_dense(parameter: Tensor) -> bool:
    """Whether a parameter has no gaps in memory, in the order of its indices or with the channels last."""
    return parameter.is_contiguous() or (
        parameter.dim() == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    )


def ordered_as(parameter: Tensor, values: Tensor) -> Tensor:
    """``values``, copied where their order in memory is not that of the parameter, whose shape they have."""
    steps = zip(parameter.shape, parameter.stride(), values.stride(), strict=True)
    if all(n < 2 or a == b for n, a, b in steps):
        return values
    return torch.empty_like(parameter, dtype=values.dtype, requires_grad=False).copy_(values)


def trained_by(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters of an optimiser, in its order."""
    return [p for group in optimiser.param_groups for p in group["params"]]


def learning_rate(config: OptimiserConfig, epoch: int, epochs: int) -> float:
    """The rate in an epoch (from 0) of a stage: a function of the position alone, so resuming needs no state."""
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    return config.lr * (config.gamma ** (epoch // config.step_epochs) if config.schedule == "step" else 1.0)
