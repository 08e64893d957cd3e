"""The optimiser of a run and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from mmbal.engine.config import OptimiserConfig
from mmbal.errors import MmbalError


def build_optimiser(modules: dict[str, nn.Module], config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser over every parameter that learns, with one group for each part; a group's ``part`` is its name."""
    groups = [
        {"params": [p for p in module.parameters() if p.requires_grad], "part": name}
        for name, module in modules.items()
    ]
    learning = [group for group in groups if group["params"]]
    if not learning:
        raise MmbalError("Nothing is left to train: every part is frozen.", "Drop --freeze-encoders.")
    if config.name == "sgd":
        return torch.optim.SGD(learning, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(learning, lr=config.lr, weight_decay=config.weight_decay)


def trained_by(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All parameters of an optimiser, in its order."""
    return [p for group in optimiser.param_groups for p in group["params"]]


def learning_rate(config: OptimiserConfig, epoch: int, epochs: int) -> float:
    """The rate in an epoch (from 0) of a stage: a function of the position alone, so resuming needs no state."""
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    return config.lr * (config.gamma ** (epoch // config.step_epochs) if config.schedule == "step" else 1.0)
