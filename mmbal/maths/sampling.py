"""Drawing rows by weight."""

from __future__ import annotations

import torch
from torch import Tensor


def systematic_draw(weights: Tensor, start: float) -> Tensor:
    """N positions in proportion to ``weights (N,)``, each within one of its expected count.

    ``start``, in [0, 1), is the only chance in it; with equal weights every position is drawn once. Systematic
    resampling, Kitagawa 1996, in the form of Douc, Cappe and Moulines, ISPA 2005.
    """
    ends = weights.double().cumsum(0) / weights.double().sum()
    points = (torch.arange(len(weights), dtype=torch.float64, device=weights.device) + start) / len(weights)
    return torch.searchsorted(ends, points, right=True).clamp(max=len(weights) - 1)
