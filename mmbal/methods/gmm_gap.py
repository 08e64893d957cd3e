"""GMM-guided loss: separate balanced from imbalanced samples by a mixture of two Gaussians, and treat them differently.

After Liu, Yu, Liu and Chen, "Quantifying Multimodal Imbalance: Adaptive Loss via Probabilistic Sample Separation", 2025,
arXiv 2510.21797; our instantiation, since its formulas could not be obtained and there is no public code.

    g_i   = max_m p_im[y] - min_m p_im[y]     the gap between the modalities of sample i, p_im = softmax(o_im)
    pi_i  = posterior of the component with the larger mean, in a mixture of two Gaussians
            fitted to the gaps of the epoch before, mu the smaller mean
    L     = mean_i [ (1 + beta (1 - 2 pi_i)) CE(o_i, y_i)  +  gamma (g_i + pi_i relu(g_i - mu)) ]

The three aims are the abstract's: a smaller gap for all, imbalanced samples drawn towards the balanced ones' mean with a
larger penalty, and more weight of the fused loss on balanced samples.

Deviations: all that goes beyond the abstract is ours. The larger probability in g is held constant, so that a gap closes by
raising the modality behind, not by lowering the one ahead. For M > 2 the gap is that of the extremes. The warm-up, in which
the loss is the fused one, is a fifth of the epochs if not set. A sample with one modality has no gap.
"""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.parts.gmm_gap import fit_two_gaussians, posterior
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def modality_gap(probability: Tensor, present: Tensor) -> Tensor:
    """``g (B,)`` of true-class probabilities ``(M, B)``; the gradient is that of the smallest, zero without two."""
    low = probability.masked_fill(~present, torch.inf).amin(dim=0)
    high = probability.detach().masked_fill(~present, -torch.inf).amax(dim=0)
    return torch.where(present.sum(dim=0) > 1, high - low, 0.0)


def adaptive_loss(fused: Tensor, gap: Tensor, imbalanced: Tensor, mean: float, beta: float, gamma: float) -> Tensor:
    """``L`` by row ``(B,)``, of the fused cross-entropy, the gap and the posterior ``(B,)``, and ``mu``."""
    return (1 + beta * (1 - 2 * imbalanced)) * fused + gamma * (gap + imbalanced * (gap - mean).relu())


@methods.register(
    family="loss weighting",
    year=2025,
    paper="2510.21797",
    status="our instantiation",
    off={"beta": 0.0, "gamma": 0.0},
)
class GMMGap(Method):
    """Weighs the fused loss and a penalty on the gap by how likely a sample is imbalanced."""

    at_least = 2
    summed = ("gaps",)

    mixture: Tensor
    gaps: Tensor

    class Config(Config):
        beta: float = Field(
            0.5, ge=0, le=1, description="beta: how much more the fused loss of balanced samples counts"
        )
        gamma: float = Field(1.0, ge=0, description="gamma: weight of the penalty on the gap; 0 none")
        warm_up: int | None = Field(
            None, ge=0, description="epochs with the fused loss alone; a fifth of all if not set"
        )

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        # Weights, means and spreads of the balanced and of the imbalanced component; not known before the first epoch ends.
        self.register_buffer("mixture", torch.full((3, 2), torch.nan, dtype=torch.double))

    def on_epoch_start(self, run: Run) -> None:
        self.gaps = torch.zeros(
            2, len(run.train.store), dtype=torch.double, device=run.device
        )  # sums and visits, by row

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        config, names = self.config, self.model.modalities
        if config.beta == 0 and config.gamma == 0:
            return super().losses(output, batch, phase, run)
        truth = [output.logits[m].float().softmax(dim=1).gather(1, batch.labels[:, None]).squeeze(1) for m in names]
        there = torch.stack([output.present[m] for m in names])
        gap = modality_gap(torch.stack(truth), there)
        seen = torch.stack([gap.detach(), torch.ones_like(gap)]).double() * (there.sum(dim=0) > 1)
        self.gaps.index_add_(1, batch.index, seen)
        run.log("gap", gap.mean())
        warm_up = run.epochs // 5 if config.warm_up is None else config.warm_up
        if run.epoch < warm_up or bool(self.mixture.isnan().any()):
            return super().losses(output, batch, phase, run)
        imbalanced = posterior(gap.detach().double(), self.mixture).to(gap.dtype)
        run.log("imbalanced", imbalanced.mean())
        fused = cross_entropy(output.fused, batch.labels, reduction="none")
        mean = float(self.mixture[1, 0])
        return {"adaptive": adaptive_loss(fused, gap, imbalanced, mean, config.beta, config.gamma).mean()}

    def on_epoch_end(self, run: Run) -> None:
        total, visits = run.sum(self.gaps)
        if int((visits > 0).sum()) > 1:
            self.mixture.copy_(fit_two_gaussians(total[visits > 0] / visits[visits > 0]))
            for name, value in zip(("balanced", "imbalanced"), self.mixture[1], strict=True):
                run.log(f"mean_gap.{name}", float(value))
