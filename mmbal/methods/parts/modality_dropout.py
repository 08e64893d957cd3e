"""Modality dropout by fading: each input is scaled by its own share; the shares are a uniform point of the simplex."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def faded(values: Tensor, share: Tensor, thresholds: Tensor) -> Tensor:
    """``c x`` for inputs ``(B, ...)`` and c ``(B,)``; token ids are kept where their ``thresholds`` are below c."""
    share = share.view(-1, *[1] * (values.dim() - 1))
    return values * share if values.is_floating_point() else values * (thresholds < share)


def simplex(draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbers in [0, 1), one for each modality and sample, to a uniform point with ``sum_m c_m = 1``."""
    exponential = {m: -u.clamp(min=1e-7).log() for m, u in draws.items()}
    whole = torch.stack([exponential[m] for m in sorted(exponential)]).sum(dim=0)
    return {m: e / whole for m, e in exponential.items()}
