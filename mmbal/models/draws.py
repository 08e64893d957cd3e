"""Randomness in a training step: equal in all processes, and in any order of modalities.

The loop seeds torch's generator by (seed, epoch); a name that holds the step and the modality does the rest.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor


def named_generator(name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on torch's seed and ``name`` alone; unlike reseeding torch it costs next to nothing."""
    return torch.Generator(device).manual_seed((torch.initial_seed() + zlib.crc32(name.encode())) % 2**63)


def uniform_by_row(name: str, index: Tensor, rows: int) -> Tensor:
    """A number in [0, 1) for each row ``index (B,)`` of a store of ``rows``: a share of a batch draws as the whole."""
    return torch.rand(rows, generator=named_generator(name))[index.cpu()].to(index.device)


def kept_at_random(
    present: Mapping[str, Tensor], rate: float, name: str, index: Tensor, rows: int
) -> dict[str, Tensor]:
    """``present[m] (B,)`` after each modality is dropped with chance ``rate``; no sample loses its last modality.

    ``index (B,)`` are the samples' rows in a store of ``rows``. Where all would go, the one with the largest draw stays.
    """
    draws = {m: uniform_by_row(f"{name}.{m}", index, rows) for m in present}
    largest = torch.stack([draws[m] * present[m] for m in sorted(present)]).amax(dim=0)
    return {m: p & ((draws[m] >= rate) | (draws[m] == largest)) for m, p in present.items()}
