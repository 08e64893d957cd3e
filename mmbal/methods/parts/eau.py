"""EAU: weights from variances, the contrast of two draws, and the divergence from a normal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize


def variance_weights(
    log_variance: Mapping[str, Tensor], present: Mapping[str, Tensor], rule: Literal["inverse", "softmax"] = "inverse"
) -> dict[str, Tensor]:
    """``w_m (B, d)`` of ``log v_m (B, d)``: they sum to 1 over the modalities that a row has; 0 for a missing one."""
    names = sorted(log_variance)
    scores = torch.stack([-log_variance[m] if rule == "inverse" else -log_variance[m].exp() for m in names])
    there = torch.stack([present[m] for m in names])[..., None]
    # Not -inf: in a row that has no modality the softmax would be NaN.
    found = scores.masked_fill(~there, torch.finfo(scores.dtype).min).softmax(dim=0) * there
    return dict(zip(names, found, strict=True))


def contrast(one: Tensor, two: Tensor, temperature: float, within: bool = True) -> Tensor:
    """Contrast of two draws ``(N, d)`` of the same samples: ``(N,)``; ``within`` false is the public code's second sum."""
    one, two = normalize(one, dim=1), normalize(two, dim=1)
    between = one @ two.T / temperature

    def direction(across: Tensor, inside: Tensor) -> Tensor:
        own = torch.eye(len(across), dtype=torch.bool, device=across.device)
        both = torch.cat([across, inside.masked_fill(own, -torch.inf)], dim=1)
        return both.logsumexp(dim=1) - across.diagonal()

    first = direction(between, one @ one.T / temperature if within else between)
    second = direction(between.T, two @ two.T / temperature if within else between.T)
    return (first + second) / 2


def divergence_from_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """``KL(N(mean, v) || N(0, 1))`` of ``(B, d)``: ``(B,)``, in nats."""
    return (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1) / 2
