"""Signal-to-noise ratios and the loss weights that go by them.

A diffusion model sees x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps and is trained on ``w(SNR_t) |eps - eps'|^2`` with
SNR_t = abar_t / (1 - abar_t). Its error of x_0 is that of eps over sqrt(SNR_t): with a constant weight the estimate of x_0
is worst, and biased, where noise prevails. Weights by name:

    constant   1
    debias     SNR^-1/2                     Yu et al., "Unmasking Bias in Diffusion Model Training", 2310.08442
    p2         (k + SNR)^-gamma             Choi et al., CVPR 2022, arXiv 2204.00227; k = 1, gamma = 1
    min_snr    min(1, cap / SNR)            Hang et al., ICCV 2023, arXiv 2303.09556; cap = 5
    inverse    1 / SNR                      the error of x_0 itself
"""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch
from torch import Tensor

from mmbal.errors import UsageError, did_you_mean

Weighting = Literal["constant", "debias", "p2", "min_snr", "inverse"]


def weight(
    snr: Tensor, weighting: Weighting = "debias", *, k: float = 1.0, gamma: float = 1.0, cap: float = 5.0
) -> Tensor:
    """The loss weight at each signal-to-noise ratio (any shape, positive); raises UsageError for an unknown name."""
    if check_weighting(weighting) == "constant":
        return torch.ones_like(snr)
    if weighting == "debias":
        return snr.rsqrt()
    if weighting == "p2":
        return (k + snr) ** -gamma
    if weighting == "min_snr":
        return (cap / snr).clamp(max=1.0)
    return 1 / snr


def check_weighting(name: str) -> Weighting:
    """``name`` as a weighting; raises UsageError where there is none of that name."""
    if name not in get_args(Weighting):
        raise UsageError(f"There is no weighting '{name}'.", did_you_mean(name, get_args(Weighting)))
    return cast(Weighting, name)


def cosine_signal(steps: int, offset: float = 0.008) -> Tensor:
    """abar_t ``(steps,)`` of the cosine schedule, t = 1 .. steps; a step keeps at least a tenth of the signal's variance.

    Source: Nichol and Dhariwal, "Improved Denoising Diffusion Probabilistic Models", ICML 2021, arXiv 2102.09672, eq. 17,
    whose floor is a thousandth, for 1,000 steps.
    """
    position = (torch.arange(steps + 1, dtype=torch.float64) / steps + offset) / (1 + offset)
    level = torch.cos(position * torch.pi / 2) ** 2
    kept = (level[1:] / level[:-1]).clamp(min=0.1)
    return kept.cumprod(dim=0)


def snr_of(signal: Tensor) -> Tensor:
    """SNR_t = abar_t / (1 - abar_t)."""
    return signal / (1 - signal)


def margin_snr(margin_sum: Tensor, margin_square_sum: Tensor, count: Tensor) -> Tensor:
    """Signal-to-noise ratio of decision margins from their sums: squared mean over variance (any shape).

    The margin of a sample is the logit of its class less the mean of the others. A negative mean is no signal: 0.
    """
    mean = margin_sum / count
    variance = (margin_square_sum / count - mean**2).clamp(min=1e-12)
    return mean.clamp(min=0) ** 2 / variance
