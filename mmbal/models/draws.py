"""Randomness in a training step: equal in all processes, and in any order of modalities.

The loop seeds torch's generator by (seed, epoch); a name that holds the step and the modality does the rest.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor


def named_generator(name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on torch's seed and ``name`` alone; unlike reseeding torch it costs next to nothing."""
    return torch.Generator(device).manual_seed((torch.initial_seed() + zlib.crc32(name.encode())) % 2**63)


def uniform_by_row(name: str, index: Tensor, rows: int) -> Tensor:
    """A number in [0, 1) for each row ``index (B,)`` of a store of ``rows``: a share of a batch draws as the whole."""
    return torch.rand(rows, generator=named_generator(name))[index.cpu()].to(index.device)
