"""Chance that falls on samples, alike whoever holds them."""

from __future__ import annotations

import torch
from torch import Tensor

from mmbal.models.fusion import named_seed


def uniform_by_row(name: str, index: Tensor, rows: int) -> Tensor:
    """A number in [0, 1) for each row ``index (B,)`` of a store of ``rows``, from the seed and ``name`` alone.

    Processes that share a batch so draw what one process would for the whole.
    """
    with named_seed(name):
        return torch.rand(rows)[index.cpu()].to(index.device)
