"""CGGM: classifiers on the single modalities steer the encoders' gradients, in size and in direction.

Guo, Jin, Chen and Zhao, "Classifier-guided Gradient Modulation for Enhanced Multimodal Learning", NeurIPS 2024,
arXiv 2411.01409. A linear probe of each modality learns along with the model, from features that get no gradient.

    d_m   = accuracy of probe m on this batch - that on the batch before
    B_m   = (sum_k d_k - d_m) / sum_k d_k
    g_m  <- rho B_m g_m                                         for the gradients of encoder m
    L     = CE(o, y) + lambda L_gm,   L_gm = mean_m ( |B_m| - B_m cos(G_m, G_f,m) )

G_m and G_f,m are the gradients of the probe's and of the fused cross-entropy to the weights on z_m, (C, D_m). For a linear
layer that is (softmax(o) - y)^T z_m / B, so the cosine needs no second backward pass, and L_gm reaches features and fusion.

Deviations: the public code takes the cosine between the weights, not their gradients. Its fusion has one output layer;
here the part of it that reads m is compared with m's probe, so G_m and G_f,m have one shape. G_m is a constant. d_m can
have either sign, so B_m can be any number: it is kept within [0, limit], and (M - 1) / M where the sum is 0. Probes are
linear and learn with the model's optimiser; the code's are transformers with one of their own. The direction loss needs
an additive fusion. A sample without m is left out of m's probe.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, one_hot

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.errors import ConfigError
from mmbal.maths.confidence import accuracy
from mmbal.methods.base import Method, Phase, Run, scale_gradients
from mmbal.models.fusion import LinearFusion, linear, masked_cross_entropy
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def modulation(before: Tensor, after: Tensor, limit: float | None = None) -> Tensor:
    """``B (M,)`` of the accuracies before and after, within [0, limit] where a limit is given."""
    gain = after - before
    total = gain.sum()
    even = torch.full_like(gain, (len(gain) - 1) / len(gain))
    found = torch.where(total.abs() > 1e-8, (total - gain) / torch.where(total.abs() > 1e-8, total, 1), even)
    return found if limit is None else found.clamp(0, limit)


def output_gradient(features: Tensor, logits: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """Gradient ``(C, D)`` of the mean cross-entropy to a linear layer's weights; differentiable in both arguments."""
    error = logits.softmax(dim=1) - one_hot(labels, logits.shape[1])
    return (error * present[:, None]).T @ features / present.sum().clamp(min=1)


def direction_loss(coefficients: Tensor, cosines: Tensor) -> Tensor:
    """``L_gm`` of ``B (M,)`` and of the cosines ``(M,)``."""
    return (coefficients.abs() - coefficients * cosines).mean()


@methods.register(
    family="gradient modulation",
    year=2024,
    paper="2411.01409",
    status="with stated deviations",
    off={"rho": None, "direction": 0.0},
)
class CGGM(Method):
    """Scales the encoders' gradients by the progress of probes, and turns the fused gradient towards theirs."""

    at_least = 2
    accumulates = False  # its losses compare gradients over all samples

    class Config(Config):
        rho: float | None = Field(1.3, gt=0, description="rho: scale of the gradients; none: they are not modulated")
        direction: float = Field(0.05, ge=0, description="lambda: weight of the direction loss L_gm; 0: none")
        limit: float = Field(2.0, gt=0, description="largest B_m")

    accuracies: Tensor  # of the probes on the batch before (M,), modalities by name
    coefficients: Tensor  # B (M,) of the last batch

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        if self.config.direction and not isinstance(model.fusion, LinearFusion):
            hint = "Use --fusion concat, or --set method.direction=0."
            raise ConfigError("CGGM's direction loss needs an additive fusion.", hint)
        self.names = sorted(model.modalities)
        self.active = self.config.rho is not None or self.config.direction > 0
        dims, classes = model.fusion.dims, model.fusion.classes
        self.probes = nn.ModuleDict(
            {m: linear(d, classes, f"cggm.{m}") for m, d in dims.items()} if self.active else {}
        )
        self.register_buffer("accuracies", torch.zeros(len(self.names)))
        self.register_buffer("coefficients", torch.ones(len(self.names)))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if not self.active:
            return found
        labels, present = batch.labels, output.present
        guess = {m: self.probes[m](output.features[m].detach()) for m in self.names}
        scores = accuracy({m: o.detach() for m, o in guess.items()}, labels, present, run.sum)
        before = self.accuracies.tolist()
        after = torch.tensor([scores.get(m, old) for m, old in zip(self.names, before, strict=True)]).to(
            self.accuracies
        )
        self.coefficients.copy_(modulation(self.accuracies, after, self.config.limit))
        self.accuracies.copy_(after)
        for m, coefficient in zip(self.names, self.coefficients.tolist(), strict=True):
            run.log(f"coefficient/{m}", coefficient)
            found[f"probe/{m}"] = masked_cross_entropy(guess[m], labels, present[m])
        if self.config.direction:
            found["direction"] = self.config.direction * self.direction(output, guess, batch, run)
        return found

    def direction(self, output: Output, guess: dict[str, Tensor], batch: Batch, run: Run) -> Tensor:
        """``L_gm`` of the whole batch, with the gradient of this process's share of it."""
        share, whole, own, counts = [], [], [], []
        for m in self.names:
            z, there = output.features[m], output.present[m]
            part = there.sum() / run.sum(there.sum()).clamp(min=1)
            counts.append(part / run.share)  # gradients are averaged by samples, of which not all have m
            share.append(output_gradient(z, output.fused, batch.labels, there).flatten())
            whole.append(run.sum(part * share[-1]).requires_grad_())
            own.append(run.sum(part * output_gradient(z, guess[m], batch.labels, there)).flatten())
        cosines = torch.stack([cosine_similarity(a, b, dim=0) for a, b in zip(own, whole, strict=True)])
        for m, cosine in zip(self.names, cosines, strict=True):
            run.log(f"cosine/{m}", cosine)
        value = direction_loss(self.coefficients, cosines)
        slopes = torch.autograd.grad(value, whole)
        # The cosine is no mean over samples: its slope at the whole batch's gradient is what each share is to follow.
        return value.detach() + sum(
            (count * slope * (g - g.detach())).sum() for count, slope, g in zip(counts, slopes, share, strict=True)
        )

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        if self.config.rho is not None:
            for m, coefficient in zip(self.names, self.coefficients.tolist(), strict=True):
                scale_gradients(self.model.encoders[m], self.config.rho * coefficient)
