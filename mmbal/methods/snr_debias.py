"""SNR debiasing: weight each modality's own loss by the inverse root of its signal-to-noise ratio.

After Yu, Shen, Huang, Li and Zhao, "Unmasking Bias in Diffusion Model Training", 2023, arXiv 2310.08442: a loss that is
constant over noise levels neglects the noisy ones, and w = SNR^-1/2 debiases it. A joint loss is likewise constant over
modalities: a modality of strong signal satisfies it, and the noisy one stays untrained.

    L = CE(softmax(o), y) + alpha * sum_m w_m CE(softmax(o_m), y),     w_m = M w(SNR_m) / sum_j w(SNR_j)
    SNR_m = mean(d_m)^2 / var(d_m),    d_m = o_m[y] - mean_{c != y} o_m[c]                 w(SNR) = SNR^-1/2

Deviations: our instantiation. The paper weighs noise levels of one diffusion model, not modalities; the weighting family
is its own and its comparators' (mmbal/maths/snr.py). The SNR is a running mean over batches, kept within [1/100, 100] so
that a modality without any signal can't take all the weight. Samples without m are left out of its loss and its SNR.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.snr import Weighting, margin_snr, weight
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import masked_cross_entropy
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods

FAINTEST, CLEAREST = 1e-2, 1e2


def margin_sums(logits: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """Sum of the margins, of their squares, and their number ``(3,)``, over the rows that have the modality."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    margin = own - (logits.sum(dim=1) - own) / (logits.shape[1] - 1)
    return torch.stack([margin * present, margin**2 * present, present.to(margin.dtype)], dim=1).sum(dim=0)


def modality_weights(snr: Tensor, weighting: Weighting) -> Tensor:
    """``w_m (M,)``, with mean one, of the modalities' signal-to-noise ratios."""
    weights = weight(snr.clamp(FAINTEST, CLEAREST), weighting)
    return weights * len(weights) / weights.sum()


@methods.register(
    family="loss weighting", year=2023, paper="2310.08442", status="our instantiation", off={"alpha": 0.0}
)
class SNRDebias(Method):
    """Adds the modalities' own losses, weighted against their signal-to-noise ratios."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(1.0, ge=0, description="alpha: share of the modalities' own losses; 0 none")
        weighting: Weighting = Field("debias", description="w: how a loss counts at a signal-to-noise ratio")
        momentum: float = Field(0.9, ge=0, lt=1, description="of the running sums behind the ratios")

    sums: Tensor

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        self.register_buffer("sums", torch.zeros(len(self.names), 3))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        losses = super().losses(output, batch, phase, run)
        if self.config.alpha == 0:
            return losses
        parts = [margin_sums(output.logits[m].float(), batch.labels, output.present[m]) for m in self.names]
        self.sums.mul_(self.config.momentum).add_(run.sum(torch.stack(parts)))
        total, square, count = self.sums.unbind(dim=1)
        snr = margin_snr(total, square, count.clamp(min=1e-12))
        weights = modality_weights(snr, self.config.weighting)
        for m, ratio, w in zip(self.names, snr, weights, strict=True):
            run.log(f"snr/{m}", ratio)
            run.log(f"weight/{m}", w)
            own = masked_cross_entropy(output.logits[m], batch.labels, output.present[m])
            losses[f"own/{m}"] = self.config.alpha * w * own
        return losses
