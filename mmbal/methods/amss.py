"""AMSS: in each step only some units of an encoder learn; the less an encoder tells about the label, the more units learn.

Yang, Pan, Jiang, Xu and Tang, "Learning to Rebalance Multi-Modal Optimization by Adaptively Masking Subnetworks", TPAMI
2025, arXiv 2404.08347.

    q_m    = max(0, H(Y) + 1/2 - CE(o_m, y)) / H(softmax(z_m))       significance: a rate of mutual information
    rate_m = M / 2 softmax_m(-q_m / T),  within [lowest, highest]    for M = 2: softmax of the other's significance
    of the n output units of a weight, ceil(rate_m n) are drawn without replacement, in proportion to their squared gradient;
    the gradient of the others is set to zero:  g <- mask g
    AMSS+: a unit is drawn with probability pi_u = min(1, k (q_u + 1 / n) / 2), and g <- mask g / pi: unbiased

Here q_u is a unit's share of the squared gradient and k = ceil(rate_m n).

Deviations: the public code sets both rates to 1/2 wherever one CE_m > H(Y) + 1/2; here that modality's significance is 0.
Its H(Y) is a cross-entropy of the label shares with their softmax; here it is the entropy of the batch's labels. Its AMSS+
divides convolutions by q_u + 1 / n, which is not the chance of being drawn, and the head by drawn indices in the place of
q_u; `unbiased` divides by the chance, with draws that do not depend on each other. The factor M / 2 is ours; for M = 2 the
rates are the paper's. The code masks convolutions (`scope = conv`); by default all weights of encoders are masked. Biases
and normalisation layers always learn. Samples without m are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import mean_cross_entropy, means
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.draws import named_generator
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def significance(label_entropy: float, loss: float, feature_entropy: float, offset: float = 0.5) -> float:
    """``q_m`` (nats over nats) of the entropies of labels and of a modality's features, and of its loss."""
    return max(0.0, label_entropy + offset - loss) / feature_entropy if feature_entropy > 0 else 0.0


def keep_rates(
    significances: Mapping[str, float], temperature: float, lowest: float = 0.1, highest: float = 0.9
) -> dict[str, float]:
    """``rate_m``: the share of the units that learn, larger for the modalities of less significance."""
    names = sorted(significances)
    odds = torch.tensor([-significances[m] / temperature for m in names], dtype=torch.float64).softmax(dim=0)
    return {m: min(max(len(names) / 2 * p, lowest), highest) for m, p in zip(names, odds.tolist(), strict=True)}


def chosen_units(importance: Tensor, many: int, noise: Tensor) -> Tensor:
    """Mask ``(n,)`` of ``many`` units drawn without replacement in proportion to ``importance``; noise is uniform.

    The keys log(importance) - log(-log(noise)) give such a draw by their order (the Gumbel trick).
    """
    keys = importance.clamp(min=1e-38).log() - (-noise.clamp(1e-12, 1 - 1e-7).log()).log()
    mask = torch.zeros_like(importance)
    mask[keys.argsort(descending=True, stable=True)[:many]] = 1.0
    return mask


def unbiased_units(importance: Tensor, many: int, noise: Tensor) -> Tensor:
    """Mask ``(n,)`` of independent draws, about ``many``, divided by their chances; its mean over draws is one."""
    share = importance / importance.sum().clamp(min=1e-38)
    chance = (many * (share + 1 / len(share)) / 2).clamp(max=1)
    return (noise < chance) / chance


@methods.register(
    family="gradient modulation",
    year=2025,
    paper="2404.08347",
    status="with stated deviations",
    off={"lowest": 1.0, "highest": 1.0},
)
class AMSS(Method):
    """Lets a random part of each encoder's units learn."""

    at_least = 2

    class Config(Config):
        temperature: float = Field(0.2, gt=0, description="T: how sharply the rates differ; 0.2 in the public code")
        lowest: float = Field(0.1, gt=0, le=1, description="smallest share of units that learn")
        highest: float = Field(0.9, gt=0, le=1, description="largest share; with 1 for both, all learn")
        unbiased: bool = Field(False, description="AMSS+: divide gradients by the chance of being drawn")
        scope: Literal["all", "conv"] = Field("all", description="what is masked: all weights, or 4-D ones (code)")

    @torch.no_grad()
    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        for m, rate in self.rates(output, batch, run).items():
            run.log(f"rate/{m}", rate)
            for place, parameter in enumerate(self.model.encoders[m].parameters() if rate < 1 else ()):
                wanted = parameter.dim() == 4 if self.config.scope == "conv" else parameter.dim() >= 2
                if wanted and parameter.grad is not None:
                    self.mask(parameter.grad, rate, f"amss.{run.step}.{m}.{place}")

    def rates(self, output: Output, batch: Batch, run: Run) -> dict[str, float]:
        """``rate_m`` of a batch, over all processes."""
        counts = run.sum(one_hot(batch.labels, self.model.fusion.classes).sum(dim=0).double())
        shares = counts[counts > 0] / counts.sum()
        label_entropy = -float((shares * shares.log()).sum())
        log = {m: z.detach().float().log_softmax(dim=1) for m, z in output.features.items()}
        entropies = means({m: -(p.exp() * p).sum(dim=1) for m, p in log.items()}, output.present, run.sum)
        losses = mean_cross_entropy(output.logits, batch.labels, output.present, run.sum)
        found = {m: significance(label_entropy, losses[m], entropies[m]) for m in losses}
        return keep_rates(found, self.config.temperature, self.config.lowest, self.config.highest)

    def mask(self, gradient: Tensor, rate: float, name: str) -> None:
        """Keep the gradient of some output units, in place."""
        importance = gradient.flatten(1).square().sum(dim=1)
        noise = torch.rand(len(importance), generator=named_generator(name)).to(importance)
        draw = unbiased_units if self.config.unbiased else chosen_units
        kept = draw(importance, math.ceil(rate * len(importance)), noise)
        gradient.mul_(kept.view(-1, *[1] * (gradient.dim() - 1)))
