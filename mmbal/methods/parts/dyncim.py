"""DynCIM: the difficulty of samples, the progress of modalities, and a gate over the unimodal decisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmbal.maths.divergences import jensen_shannon

SLOWEST = 1e-3  # improvement rates below this count as this: with a rate of zero the harmonic mean says nothing


def indicators(
    fused: Tensor, own: Mapping[str, Tensor], present: Mapping[str, Tensor], labels: Tensor, before: Tensor
) -> Tensor:
    """Deviation, consistency and stability ``(B, 3)``, each in [0, 1], of logits ``fused, own[m] (B, C)``.

    Deviation is the probability not given to the true class; consistency the mean Jensen-Shannon divergence, over log 2,
    between the fused decision and those of the modalities that the sample has; stability the relative change of the
    loss since ``before (B,)``, zero where that is NaN (a first visit).
    """
    decided = fused.log_softmax(dim=1)
    likelihood = decided.gather(1, labels[:, None]).squeeze(1)
    names = sorted(own)
    apart = torch.stack([jensen_shannon(own[m].log_softmax(dim=1), decided) * present[m] for m in names]).sum(dim=0)
    count = torch.stack([present[m] for m in names]).sum(dim=0).clamp(min=1)
    stability = (-likelihood - before).abs() / (before - likelihood).clamp(min=1e-12)
    return torch.stack([1 - likelihood.exp(), apart / count / math.log(2), stability.nan_to_num(0.0)], dim=1)


def moments(values: Tensor, total: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ``(J,)`` of the columns of ``values (B, J)``; ``total`` sums over processes."""
    count = total(torch.tensor(float(len(values)), device=values.device))
    mean, square = total(torch.stack([values.sum(dim=0), (values**2).sum(dim=0)])) / count
    return mean, (square - mean**2).clamp(min=0).sqrt()


def difficulty(values: Tensor, spread: Tensor) -> Tensor:
    """``d (B,)`` of indicators ``(B, J)``, each weighted by its share of ``spread (J,)``; zero where nothing varies."""
    return values @ (spread / spread.sum().clamp(min=1e-12))


def lag(before: Sequence[float], now: Sequence[float], fused: float) -> list[float]:
    """``(1 - GMR)_+ HMIR / r_m`` from each modality's mean loss in two epochs and the fused one in the later.

    ``r_m = 1 - L_m(t) / L_m(t-1)`` is m's rate of improvement, HMIR the rates' harmonic mean, GMR the geometric mean of
    ``L_f / L_m``. The quotients HMIR / r_m have mean one.
    """
    rates = [max(1 - b / a, SLOWEST) for a, b in zip(before, now, strict=True)]
    harmonic = len(rates) / sum(1 / rate for rate in rates)
    geometric = math.exp(sum(math.log(fused / loss) for loss in now) / len(now))
    return [max(1 - geometric, 0.0) * harmonic / rate for rate in rates]


def gates(scores: Tensor, present: Tensor) -> Tensor:
    """``g (B, M)`` of scores ``(B, M)``: softmax over the modalities present, times their number; 1 for missing ones."""
    shares = scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim=1)
    return torch.where(present, shares * present.sum(dim=1, keepdim=True), torch.ones_like(scores))


class DecisionGate(nn.Module):
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
