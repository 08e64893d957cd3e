"""Two Gaussians on a line, fitted by expectation maximisation (Dempster, Laird and Rubin 1977); always the same answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NARROWEST = 1e-3  # least spread of a component: one on a single point would have an unbounded likelihood
STEPS = 200


def log_densities(values: Tensor, mixture: Tensor) -> Tensor:
    """``log w_k N(x; mu_k, sigma_k^2)`` ``(2, N)`` of values ``(N,)``; ``mixture (3, 2)`` has w, mu and sigma."""
    weight, mean, spread = mixture[:, :, None]
    return weight.log() - spread.log() - 0.5 * math.log(2 * math.pi) - 0.5 * ((values - mean) / spread) ** 2


def posterior(values: Tensor, mixture: Tensor) -> Tensor:
    """Probability ``(N,)`` that a value is of the second component, which has the larger mean."""
    return log_densities(values, mixture).softmax(dim=0)[1]


def fit_two_gaussians(values: Tensor) -> Tensor:
    """The mixture ``(3, 2)``, the component with the smaller mean first, of values ``(N,)``, N > 1.

    Starts from the halves below and above the mean. Where all values are equal both components are the same.
    """
    above = (values > values.mean()).to(values.dtype)
    if not bool(above.any()):
        return values.new_tensor([[0.5, 0.5], [float(values[0])] * 2, [NARROWEST] * 2])
    share = torch.stack([1 - above, above])
    mixture = values.new_zeros(3, 2)
    for _ in range(STEPS):
        count = share.sum(dim=1).clamp(min=1e-9)
        mean = share @ values / count
        variance = (share * (values - mean[:, None]) ** 2).sum(dim=1) / count
        fresh = torch.stack([count / len(values), mean, variance.sqrt().clamp(min=NARROWEST)])
        if torch.allclose(fresh, mixture, rtol=0, atol=1e-9):
            break
        mixture = fresh
        share = log_densities(values, mixture).softmax(dim=0)
    return mixture[:, mixture[1].argsort(stable=True)]
