"""A small diffusion model of features, which fills in a sample's missing modalities from those it has.

Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020, arXiv 2006.11239, on feature vectors z_m:

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps        x_0 = the standardised features of the missing modalities
    L = E_t w(SNR_t) |eps - eps'(x_t, t, features present, which are missing)|^2

with w from :mod:`mmbal.maths.snr` (arXiv 2310.08442), and ancestral sampling from pure noise, with x_0 kept in the
range that training showed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmbal.errors import DataError
from mmbal.maths.snr import Weighting, cosine_signal, snr_of, weight
from mmbal.progress import reached

STEPS = 50
BATCH = 128
SPREAD = 1e-6


class FeatureDiffusion(nn.Module):
    """Draws features of missing modalities; ``dims[m]`` is the width of modality m's features."""

    def __init__(self, dims: Mapping[str, int], *, steps: int = STEPS, width: int = 256) -> None:
        super().__init__()
        self.names = sorted(dims)
        self.dims = {m: dims[m] for m in self.names}
        total = sum(dims.values())
        self.register_buffer("mean", torch.zeros(total))
        self.register_buffer("std", torch.ones(total))
        self.register_buffer("low", torch.full((total,), -torch.inf))
        self.register_buffer("high", torch.full((total,), torch.inf))
        self.register_buffer("signal", cosine_signal(steps).float())
        self.time = nn.Embedding(steps, width)
        self.inputs = nn.Linear(2 * total + len(self.names), width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.noise = nn.Linear(width, total)

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor
    signal: Tensor

    @property
    def steps(self) -> int:
        return len(self.signal)

    def forward(self, noisy: Tensor, known: Tensor, missing: Tensor, step: Tensor) -> Tensor:
        """eps' ``(B, D)`` of noisy and known features ``(B, D)``, zero where not theirs, ``missing (B, M)``, t ``(B,)``."""
        value = self.inputs(torch.cat([noisy, known, missing.to(noisy.dtype)], dim=1)) + self.time(step)
        for layer in self.hidden:
            value = value + layer(nn.functional.silu(value))
        return self.noise(nn.functional.silu(value))

    def columns(self, modalities: Tensor) -> Tensor:
        """A mask over modalities ``(B, M)`` as one over features ``(B, D)``."""
        counts = torch.tensor(list(self.dims.values()), device=modalities.device)
        return modalities.repeat_interleave(counts, dim=1)

    def join(self, features: Mapping[str, Tensor]) -> Tensor:
        """Standardised features of all modalities side by side ``(B, D)``."""
        return (torch.cat([features[m] for m in self.names], dim=1) - self.mean) / self.std

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """The features that :meth:`join` put side by side."""
        parts = (values * self.std + self.mean).split(list(self.dims.values()), dim=1)
        return dict(zip(self.names, parts, strict=True))

    def fit(
        self, features: Mapping[str, Tensor], *, weighting: Weighting = "debias", updates: int = 2000, lr: float = 2e-3
    ) -> list[float]:
        """Learn from complete samples ``features[m] (N, D_m)``; returns the loss of each update.

        Each update hides a random, non-empty, proper subset of the modalities of each sample. Weights are scaled to
        mean one over the steps, so that a weighting moves effort between noise levels and not the learning rate.
        Draws from the global generator. Raises DataError for fewer than two samples or modalities.
        """
        if len(self.names) < 2 or len(next(iter(features.values()))) < 2:
            raise DataError("An imputer learns from at least two complete samples of at least two modalities.")
        raw = torch.cat([features[m] for m in self.names], dim=1).detach()
        self.mean.copy_(raw.mean(dim=0))
        self.std.copy_(raw.std(dim=0).clamp(min=SPREAD))
        data = self.join(features).detach()
        self.low.copy_(data.min(dim=0).values)
        self.high.copy_(data.max(dim=0).values)
        weights = weight(snr_of(self.signal), weighting)
        weights = weights / weights.mean()
        optimiser = torch.optim.Adam(self.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
        losses = []
        self.train()
        for k in range(updates):
            reached(k / updates)
            clean = data[torch.randint(len(data), (BATCH,), device=data.device)]
            missing = self.hide(BATCH, data.device)
            hidden = self.columns(missing)
            step = torch.randint(self.steps, (BATCH,), device=data.device)
            noise = torch.randn_like(clean)
            guess = self(self.corrupt(clean, noise, step) * hidden, clean * ~hidden, missing, step)
            error = ((guess - noise) ** 2 * hidden).sum(dim=1) / hidden.sum(dim=1)
            loss = (weights[step] * error).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        self.eval()
        return losses

    def hide(self, rows: int, device: torch.device) -> Tensor:
        """Which modalities to hide ``(rows, M)``: a random number of them, between one and all but one."""
        count = torch.randint(1, len(self.names), (rows, 1), device=device)
        return torch.rand(rows, len(self.names), device=device).argsort(dim=1).argsort(dim=1) < count

    def corrupt(self, clean: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """x_t ``(B, D)``."""
        level = self.signal[step].unsqueeze(1)
        return level.sqrt() * clean + (1 - level).sqrt() * noise

    @torch.no_grad()
    def estimate(self, noisy: Tensor, known: Tensor, missing: Tensor, step: Tensor) -> Tensor:
        """The model's estimate of x_0 ``(B, D)`` when it sees x_t."""
        level = self.signal[step].unsqueeze(1)
        return (noisy - (1 - level).sqrt() * self(noisy, known, missing, step)) / level.sqrt()

    @torch.no_grad()
    def sample(self, features: Mapping[str, Tensor], missing: Tensor) -> dict[str, Tensor]:
        """``features`` with those of the modalities in ``missing (B, M)`` (columns by name) drawn given the others."""
        values = self.join(features)
        hidden = self.columns(missing)
        known = values * ~hidden
        x = torch.randn_like(values) * hidden
        for t in reversed(range(self.steps)):
            step = torch.full((len(x),), t, device=x.device)
            level = self.signal[t]
            before = self.signal[t - 1] if t else torch.ones_like(level)
            kept = level / before
            clean = self.estimate(x, known, missing, step).clamp(self.low, self.high)
            # The mean and variance of q(x_{t-1} | x_t, x_0), eq. 7.
            centre = (before.sqrt() * (1 - kept) * clean + kept.sqrt() * (1 - before) * x) / (1 - level)
            spread = ((1 - before) / (1 - level) * (1 - kept)).sqrt()
            x = (centre + spread * torch.randn_like(x)) * hidden
        return self.split(torch.where(hidden, x, values))
