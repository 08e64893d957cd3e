"""MLA: train one modality a step through a shared head, whose updates keep what it learned from the others.

Zhang, Yoon, Bansal and Yao, "Multimodal Representation Learning by Alternating Unimodal Adaptation", CVPR 2024, arXiv
2311.10707. In the step of modality m, with r the mean over the batch of what the head gets and P the identity at first:

    L_m = CE(o_m, y),   o_m = H z_m + b;        dL/dH <- dL/dH P
    then  P <- P - P r r^T P / (alpha + r^T P r),   alpha = 0.1^(1 + b/B)   in batch b of B of the epoch
    o   = sum_m w_m o_m,   w = the entropy weights of the sample (mmbal/decision/rules/mla.py)

Deviations: P that projects is that of the steps before, as in the paper. With `projection = code` it is the public code's:
this step's r is first taken into P, the denominator has the outer product (P r) r^T in the place of the scalar r^T P r, so
that it divides entry by entry, and P is divided by its Frobenius norm. There it only acts on a parameter named
"module.weight", so not without DataParallel. Its dynamic weights are entropies over the whole batch: one weight a batch,
which depends on what else is in it, and is not offered; its fixed weights are `weights = {audio: 0.55, video: 0.45}`.
Modalities whose features differ in width reach the shared head by a linear map of their own. Steps are in the order of the
names, for any M; a row without m is left out of m's step. No option makes this joint training: the fusion's head is not
used.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.decision.rules.mla import entropy_weights
from mmbal.errors import ConfigError, did_you_mean
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import linear, masked_cross_entropy
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def forgetting(batch: int, batches: int) -> float:
    """``alpha`` of batch ``batch`` (from 0) of an epoch of ``batches``: from 0.1 to 0.01."""
    return 0.1 ** (1 + batch / batches)


def recursive_projection(projection: Tensor, mean: Tensor, alpha: float) -> Tensor:
    """``P (D, D)`` once the direction ``r (D,)`` is taken out of it."""
    along = projection @ mean
    return projection - torch.outer(along, along) / (alpha + mean @ along)


def code_projection(projection: Tensor, mean: Tensor, alpha: float) -> Tensor:
    """The same in the public code: an outer product in the denominator, and P divided by its Frobenius norm."""
    along = projection @ mean
    found = projection - torch.outer(along, along) / (alpha + torch.outer(along, mean))
    return found / found.norm()


@methods.register(family="alternating", year=2024, paper="2311.10707", status="with stated deviations", off=None)
class MLA(Method):
    """Trains one modality a step with a shared head, whose gradient is kept off the directions of earlier steps."""

    at_least = 2
    accumulates = False  # the projection moves with each forward pass

    projection: Tensor

    class Config(Config):
        projection: Literal["paper", "code", "none"] = Field("paper", description="P: the paper's, the code's, or none")
        weights: dict[str, float] = Field({}, description="fixed decision weights by modality; by entropy where empty")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        for m in self.config.weights:
            if m not in model.modalities:
                raise ConfigError(f"mla.weights: there is no modality '{m}'.", did_you_mean(m, model.modalities))
        dims, classes = model.fusion.dims, model.fusion.classes
        width = max(dims.values())
        self.map = nn.ModuleDict(
            {m: linear(d, width, f"mla.{m}", bias=False) for m, d in dims.items() if len(set(dims.values())) > 1}
        )
        self.head = linear(width, classes, "mla.head")
        self.register_buffer("projection", torch.eye(width))

    def on_epoch_start(self, run: Run) -> None:
        self.begun = run.step

    def phases(self, run: Run) -> Sequence[Phase]:
        return [Phase((m,), alone=True) for m in self.model.modalities]

    def shared(self, m: str, features: Tensor) -> Tensor:
        """What the shared head gets of m: ``(B, D)``."""
        return self.map[m](features) if m in self.map else features

    def fuse(self, output: Output) -> Output:
        own = {m: self.head(self.shared(m, z)) for m, z in output.features.items()}
        output = replace(output, logits=own)
        logits, present = output.stacked()
        if not self.config.weights:
            return output.weighted(entropy_weights(logits, present))
        fixed = torch.tensor([self.config.weights.get(m, 1.0) for m in sorted(own)], device=present.device)
        return output.weighted(fixed * present)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return {
            f"own/{m}": masked_cross_entropy(output.logits[m], batch.labels, output.present[m])
            for m in phase.modalities
        }

    @torch.no_grad()
    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        gradient = self.head.weight.grad
        if self.config.projection == "none" or gradient is None:
            return
        (m,) = phase.modalities
        there = output.present[m].float()
        seen = self.shared(m, output.features[m]).detach().float()
        found = run.sum(torch.cat([there @ seen, there.sum()[None]]))
        if found[-1] == 0:  # no row of the batch has m
            return
        mean = found[:-1] / found[-1]
        position = (run.step - self.begun) // len(self.model.modalities)
        alpha = forgetting(position, len(run.train))
        if self.config.projection == "paper":
            gradient.copy_(gradient @ self.projection)
            self.projection.copy_(recursive_projection(self.projection, mean, alpha))
        elif run.step > 0:  # the code leaves the very first step as it is
            self.projection.copy_(code_projection(self.projection, mean, alpha))
            gradient.copy_(gradient @ self.projection.T)  # it is not symmetric
