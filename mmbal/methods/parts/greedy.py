"""Gates between modalities: the features of all of them decide how strongly each feature counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mmbal.models.fusion import linear


class CrossGates(nn.Module):
    """``gate_m = 2 sigmoid(E_m relu(S [s_1, ..., s_M]))`` of features of widths ``dims``, at one to begin with.

    s_m is the feature, or the mean of the tokens, of m. Source: Joze, Shaban, Iuzzolino and Koishida, "MMTM: Multimodal
    Transfer Module for CNN Fusion", CVPR 2020, arXiv 1911.08670, here on features only. ``average_m`` is the running mean
    of m's gate over all steps.
    """

    def __init__(self, dims: Mapping[str, int], ratio: float) -> None:
        super().__init__()
        self.names = sorted(dims)
        hidden = max(1, round(2 * sum(dims.values()) / ratio))
        self.squeeze = linear(sum(dims[m] for m in self.names), hidden, "greedy.squeeze")
        self.excite = nn.ModuleDict({m: nn.Linear(hidden, dims[m]) for m in self.names})
        for layer in self.excite.values():
            nn.init.zeros_(cast(nn.Linear, layer).weight)
            nn.init.zeros_(cast(nn.Linear, layer).bias)
        for m in self.names:
            self.register_buffer(f"average_{m}", torch.ones(dims[m]))
        self.register_buffer("steps", torch.tensor(0))

    steps: Tensor

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gates ``(B, D_m)`` of features ``(B, D_m)`` or tokens ``(B, T, D_m)``."""
        pooled = [x.mean(dim=1) if x.dim() == 3 else x for x in (inputs[m] for m in self.names)]
        told = self.squeeze(torch.cat(pooled, dim=1)).relu()
        return {m: 2 * self.excite[m](told).sigmoid() for m in self.names}

    def average(self, m: str) -> Tensor:
        """The running mean ``(D_m,)`` of m's gate."""
        return cast(Tensor, getattr(self, f"average_{m}"))

    @torch.no_grad()
    def observe(self, means: Mapping[str, Tensor]) -> None:
        """Bring the running means up to date with a step's mean gates ``(D_m,)``."""
        self.steps += 1
        for m in self.names:
            self.average(m).lerp_(means[m], 1 / int(self.steps))
