"""Class-wise offset: shift the logits of every modality so that on average all say the same of a class.

After Yin and Crawford, "Multimodal Enfusion", 2024, public code without a paper, github.com/Nano1337/multimodal-clinical.
This is our instantiation. With a running mean of the logits of modality m, class by class:

    mu_m <- (1 - s) mu_m + s mean_i o_im                   over the samples of a batch that have m, from 0
    d_m   = mean_k mu_k - mu_m,     o'_m = o_m + eta d_m
    L     = CE(o', y) + gamma sum_m CE(o'_m, y),            o' the sum of the o'_m

Deviations: the public code updates the same means with s = 0.05, but uses the offsets only in the accuracies that it reports
of each modality; its losses and its fused decision do not see them. Here they are in both. Where a sample has all
modalities, the offsets cancel in o', so that only the modalities' own losses see them. Where it lacks some, those left
make up for the class preference of those that are missing. d is constant in the gradient.
"""

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.fusion import total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def running_mean(before: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """``mu`` after a batch, of its last value ``(..., C)`` and the batch's mean logits ``(..., C)``."""
    return (1 - smoothing) * before + smoothing * logits


def offsets(mean: Tensor) -> Tensor:
    """``d (M, C)`` of the means ``mu (M, C)``; they sum to 0 over the modalities."""
    return mean.mean(dim=0, keepdim=True) - mean


@methods.register(
    family="decision layer",
    year=2024,
    paper="github.com/Nano1337/multimodal-clinical",
    needs={"additive"},
    status="our instantiation",
    off={"eta": 0.0, "gamma": 0.0},
)
class ClasswiseOffset(Method):
    """Shifts each modality's logits, class by class, to the mean of all modalities."""

    at_least = 2

    mean: Tensor

    class Config(Config):
        eta: float = Field(1.0, ge=0, le=1, description="eta: how much of the offset is applied; 0 none")
        gamma: float = Field(1.0, ge=0, description="gamma: weight of the modalities' own losses")
        smoothing: float = Field(0.05, gt=0, le=1, description="s: weight of a batch in the running mean")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        self.register_buffer("mean", torch.zeros(len(self.names), model.fusion.classes))

    def fuse(self, output: Output) -> Output:
        if self.config.eta == 0 or output.contribution is None:
            return output
        shift = dict(zip(self.names, self.config.eta * offsets(self.mean), strict=True))
        parts = {m: part + shift[m] * output.present[m][:, None] for m, part in output.contribution.items()}
        own = {m: o + shift[m] for m, o in output.logits.items()}
        return replace(output, logits=own, contribution=parts, fused=total(parts))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run) | own_losses(output, batch.labels, self.config.gamma)
        if self.config.eta > 0:
            logits, present = output.stacked()
            shifted = run.sum(torch.cat([logits * present[..., None], present[..., None]], dim=-1).sum(dim=0))
            seen = shifted[:, -1:] > 0
            raw = shifted[:, :-1] / shifted[:, -1:].clamp(min=1) - self.config.eta * offsets(self.mean)
            self.mean.copy_(torch.where(seen, running_mean(self.mean, raw, self.config.smoothing), self.mean))
            for m, d in zip(self.names, offsets(self.mean), strict=True):
                run.log(f"offset/{m}", d.abs().max())
        return found
