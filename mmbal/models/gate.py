"""A gate over the modalities' votes: who is to be heard how much, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def gates(scores: Tensor, present: Tensor) -> Tensor:
    """``g (B, M)`` of scores ``(B, M)``: softmax over the modalities present, times their number; 1 for the absent."""
    shares = scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim=1)
    return torch.where(present, shares * present.sum(dim=1, keepdim=True), torch.ones_like(scores))


class VoteGate(nn.Module):
    """``g = M softmax_m(u_m . z_m + c_m)`` of features of widths ``dims``; u and c start at zero, so g at one.

    Features get no gradient from it.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.weight = nn.ParameterDict({m: nn.Parameter(torch.zeros(dims[m])) for m in sorted(dims)})
        self.bias = nn.Parameter(torch.zeros(len(dims)))

    def forward(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``g_m (B,)`` of features ``(B, D_m)``, with the modalities that each sample has."""
        names = sorted(features)
        scores = torch.stack([features[m].detach() @ self.weight[m] for m in names], dim=1) + self.bias
        found = gates(scores, torch.stack([present[m] for m in names], dim=1))
        return dict(zip(names, found.unbind(dim=1), strict=True))
