"""ARL: give the encoder with more confident predictions a larger gradient, as long as the other modalities contribute more.

Wei, Luo and Luo, "Improving Multimodal Learning via Imbalanced Learning", ICCV 2025, arXiv 2507.10203.

    L    = CE(o, y) + gamma sum_m CE(o_m, y)        from epoch `starts`; with weight `early` before
    c_m  = share of mean_i sum_c |o_m|[i, c]                                  how much m contributes
    h_m  = max(share of mean_i H(softmax(o_m)[i]), floor)                     how uncertain m is
    w_m  = share of 1 / h_m                                                   share: divided by the sum over modalities
    a    = softmax_m(T w_m mean_{k != m} c_k)
    g_m <- (1 + a_m) g_m                            for the gradients of encoder m

The best fusion weights follow the inverse variance of the modalities, so the more certain modality should contribute more.
It gets a larger gradient as long as the others contribute more than it does.

Deviations: the public code computes a and never assigns it, so both encoders keep 1 + 1/2; here it is assigned. The paper
scales the gradient at the encoder's output, which is the same. For M > 2 the other modality's contribution becomes the
mean of the others', and the floor of 0.3 becomes 0.6 / M; for M = 2 both are the public code's. Shares are over all samples
that have the modality and over all processes. `scale` is ours: 0 leaves the gradients as they are.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import means
from mmbal.methods.base import Method, Phase, Run, own_losses, scale_gradients
from mmbal.models.multimodal import Output
from mmbal.registry import methods


def asymmetry(
    magnitude: Mapping[str, float], entropy: Mapping[str, float], temperature: float, floor: float = 0.3
) -> dict[str, float]:
    """``a_m``, which sum to 1, of mean absolute logits and mean entropies; ``floor`` is that for two modalities."""
    names = sorted(magnitude)

    def share(values: Tensor) -> Tensor:
        total = values.sum()
        return values / total if total > 0 else torch.full_like(values, 1 / len(values))

    contribution = share(torch.tensor([magnitude[m] for m in names], dtype=torch.float64))
    unsure = share(torch.tensor([entropy[m] for m in names], dtype=torch.float64)).clamp(min=2 * floor / len(names))
    others = (1 - contribution) / max(len(names) - 1, 1)
    return dict(zip(names, (temperature * share(1 / unsure) * others).softmax(dim=0).tolist(), strict=True))


@methods.register(
    family="gradient modulation",
    year=2025,
    paper="2507.10203",
    status="with stated deviations",
    off={"gamma": 0.0, "early": 0.0, "scale": 0.0},
)
class ARL(Method):
    """Scales the encoders' gradients by confidence and by what the others contribute, and adds own losses."""

    at_least = 2

    class Config(Config):
        gamma: float = Field(4.0, ge=0, description="gamma: weight of the own losses (4 CREMA-D, 3 KS, 5 AVE)")
        temperature: float = Field(8.0, ge=0, description="T: sharpness of a (8 CREMA-D, 4 KS and AVE)")
        starts: int = Field(5, ge=0, description="first epoch with gamma and a")
        early: float = Field(1.0, ge=0, description="weight of the own losses before that epoch")
        floor: float = Field(0.3, gt=0, le=0.5, description="smallest entropy share, for two modalities")
        scale: float = Field(1.0, ge=0, description="factor on a; 1 in the paper, 0: gradients as they are")

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        weight = self.config.gamma if run.epoch >= self.config.starts else self.config.early
        return super().losses(output, batch, phase, run) | own_losses(output, batch.labels, weight)

    @torch.no_grad()
    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        if self.config.scale == 0 or run.epoch < self.config.starts:
            return
        logits = {m: o.detach().float() for m, o in output.logits.items()}
        log = {m: o.log_softmax(dim=1) for m, o in logits.items()}
        magnitude = means({m: o.abs().sum(dim=1) for m, o in logits.items()}, output.present, run.sum)
        entropy = means({m: -(p.exp() * p).sum(dim=1) for m, p in log.items()}, output.present, run.sum)
        for m, value in asymmetry(magnitude, entropy, self.config.temperature, self.config.floor).items():
            run.log(f"asymmetry/{m}", value)
            scale_gradients(self.model.encoders[m], 1 + self.config.scale * value)
