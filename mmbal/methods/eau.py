"""EAU: each modality is a Gaussian in one space; contrast makes it stable, and its variance sets its weight in the fusion.

Gao, Jiang, Xu, Shen, Li and Shen, "Embracing Unimodal Aleatoric Uncertainty for Robust Multimodal Fusion", CVPR 2024,
openaccess.thecvf.com/content/CVPR2024; our instantiation: the paper's text could not be had, its public code could.

    mu_m = A_m z_m,   log v_m = B_m z_m,   z1, z2 = mu_m + sqrt(v_m) eps          two draws of a sample
    contrast_m = mean_i -log [ e(z1_i, z2_i) / (sum_k e(z1_i, z2_k) + sum_{k != i} e(z1_i, z1_k)) ],  e = exp(cos / tau)
    h = sum_m w_m * mu_m,   w_m = (1 / v_m) / sum_k (1 / v_k)  by entry,   o = W h + b
    L = CE(o, y) + alpha sum_m contrast_m + beta [ CE(Q z, y) + K(h, v_h) + sum_m K(mu_m, v_m) ]
    K(mu, v) = KL(N(mu, v) || N(0, 1)),   z a draw of N(h, v_h),   log v_h = B h

The contrast is the mean of both directions.

Deviations: inverse variances are what is known of the paper; the public code takes softmax_m(-v_m) (`weighting = softmax`),
written for two as the softmax of the other's variance. It also hands the variance to the draws where they want the
deviation, and takes e(z1_i, z2_k) in the second sum too, so draws of one kind are never compared (`terms = code`). Left out
are its gate between the modalities, a layer before the decision, a term of weight 1e-5 between the Gaussians, whose formula
squares variances, and a later scaling of gradients. `weighting = none` keeps the model's decision. For M > 2 all sums run
over M. A missing modality has weight 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.parts.eau import contrast, divergence_from_normal, variance_weights
from mmbal.models.draws import named_generator
from mmbal.models.fusion import linear, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import WholeBatch, mean_over
from mmbal.registry import methods

MOST = 10.0  # bound of log v: its exponential and the inverse stay finite


@methods.register(
    family="fusion",
    year=2024,
    paper="openaccess.thecvf.com/content/CVPR2024",
    status="our instantiation",
    off={"weighting": "none", "contrast": 0.0, "bottleneck": 0.0},
)
class EAU(Method):
    """Weighs Gaussian embeddings by their variance, with a contrast of draws and an information bottleneck."""

    at_least = 2

    class Config(Config):
        weighting: Literal["inverse", "softmax", "none"] = Field(
            "inverse", description="w: paper, public code, no fusion"
        )
        contrast: float = Field(1e-3, ge=0, le=1, description="alpha: weight of the contrast; 0.001 in the public code")
        bottleneck: float = Field(
            1e-3, ge=0, le=1, description="beta: weight of the bottleneck; 0.001 in the public code"
        )
        temperature: float = Field(0.5, gt=0, description="tau of the contrast; 0.5 in the public code")
        dim: int = Field(128, ge=1, description="d: width of the embeddings; 128 in the public code")
        terms: Literal["paper", "code"] = Field(
            "paper", description="draws and contrast as they should be, or as in code"
        )

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        dims, classes, dim = model.fusion.dims, model.fusion.classes, self.config.dim
        self.mean = nn.ModuleDict({m: linear(d, dim, f"eau.mean.{m}") for m, d in dims.items()})
        self.spread = nn.ModuleDict({m: linear(d, dim, f"eau.spread.{m}") for m, d in dims.items()})
        self.out = linear(dim, classes, "eau.out")
        self.joint = linear(dim, dim, "eau.joint")
        self.read = linear(dim, classes, "eau.read")

    def gaussians(self, features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """``mu_m`` and ``log v_m``, each ``(B, d)``."""
        means = {m: self.mean[m](z).float() for m, z in features.items()}
        return means, {m: self.spread[m](z).float().clamp(-MOST, MOST) for m, z in features.items()}

    def weighted(self, means: Mapping[str, Tensor], spreads: Mapping[str, Tensor], output: Output) -> dict[str, Tensor]:
        """``w_m * mu_m``; equal weights where the model decides itself."""
        rule: Literal["inverse", "softmax"] = "softmax" if self.config.weighting == "softmax" else "inverse"
        even = {m: torch.zeros_like(s) for m, s in spreads.items()}
        found = variance_weights(even if self.config.weighting == "none" else spreads, output.present, rule)
        return {m: found[m] * means[m] for m in means}

    def fuse(self, output: Output) -> Output:
        if self.config.weighting == "none":
            return output
        means, spreads = self.gaussians(output.features)
        share = self.out.bias / len(means)
        parts = {m: h @ self.out.weight.T + share for m, h in self.weighted(means, spreads, output).items()}
        return replace(
            output, logits={m: self.out(mean) for m, mean in means.items()}, contribution=parts, fused=total(parts)
        )

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found, config = super().losses(output, batch, phase, run), self.config
        if not (config.contrast or config.bottleneck):
            return found
        whole = WholeBatch(batch.index, len(run.train.store), run.sum)
        means, spreads = self.gaussians(output.features)
        for m, there in output.present.items():
            one, two = (self.draw(f"{m}.{k}", means[m], spreads[m], whole, run) for k in (1, 2))
            every = whole.gather(there)
            if config.contrast and bool(every.any()):
                pair = whole.gather(one)[every], whole.gather(two)[every]
                apart = contrast(*pair, config.temperature, within=config.terms == "paper")
                found[f"contrast/{m}"] = config.contrast * apart.mean()
            if config.bottleneck:
                kept = divergence_from_normal(means[m], spreads[m])
                found[f"bottleneck/{m}"] = config.bottleneck * mean_over(kept, there)
        if config.bottleneck:
            joint = total(self.weighted(means, spreads, output))
            spread = self.joint(joint).float().clamp(-MOST, MOST)
            read = self.read(self.draw("joint", joint, spread, whole, run))
            kept = divergence_from_normal(joint, spread).mean()
            found["bottleneck"] = config.bottleneck * (cross_entropy(read, batch.labels) + kept)
        return found

    def draw(self, name: str, mean: Tensor, log_variance: Tensor, whole: WholeBatch, run: Run) -> Tensor:
        """A draw of ``N(mean, v)``, by the number of the row in the whole batch."""
        chance = named_generator(f"eau.{name}.{run.step}")
        noise = torch.randn(len(whole), mean.shape[1], generator=chance)[whole.place.cpu()].to(mean)
        return mean + noise * (log_variance if self.config.terms == "code" else log_variance / 2).exp()
