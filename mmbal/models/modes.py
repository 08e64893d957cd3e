"""Evaluation mode for a while, after which every module has the mode that it had before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put ``modules`` into evaluation mode while the block runs.

    ``nn.Module.train`` gives one mode to a module and all its sub-modules. Training mixes both modes (frozen parts are
    in evaluation mode), so each sub-module's own mode is recorded and restored.
    """
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training
