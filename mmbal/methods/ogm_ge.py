"""OGM-GE: OGM, and noise in the gradients to give back the generalisation that slowing costs.

Peng, Wei, Deng, Wang and Hu, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022, arXiv 2203.15332.

    g_m <- k_m g_m + h_m,     h_m ~ N(0, diag(std(g_m)^2)),     k_m as in OGM

Deviations: those of `ogm`. The paper's covariance is over the batches drawn, and a step has only one batch. So h has
the standard deviation of each gradient tensor's entries before scaling (the unbiased one, divided by entries - 1), in
every modality, also where k_m = 1. All this is as in the public code; its summand 1e-8 is left out. A tensor of one
entry gets no noise, since one entry has no standard deviation (the public code gets NaN there).
"""

import torch
from pydantic import Field
from torch import Tensor

from mmbal.methods.base import Run
from mmbal.methods.ogm import OGM
from mmbal.models.draws import named_generator
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.registry import methods


def noise_spread(gradient: Tensor, scale: float = 1.0) -> Tensor:
    """``std(g) ()`` times ``scale``: the unbiased standard deviation of a gradient's entries; 0 for one entry."""
    return scale * gradient.std() if gradient.numel() > 1 else gradient.new_zeros(())


@methods.register(
    family="gradient modulation",
    year=2022,
    paper="2203.15332",
    status="exact",
    off={"alpha": 0.0, "noise": 0.0},
)
class OGMGE(OGM):
    """OGM, with Gaussian noise added to the gradients that it scales."""

    class Config(OGM.Config):
        noise: float = Field(1.0, ge=0, description="GE: scale of the noise's spread; 1 in the paper, 0 is OGM")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.drawn = torch.empty(0)  # no state: overwritten by each draw

    def modulate(self, m: str, factor: float, run: Run) -> None:
        if not self.config.noise:
            super().modulate(m, factor, run)
            return
        gradients = list(self.gradients(m))
        sizes = [g.numel() for g in gradients]
        noise = self.noise(sum(sizes), named_generator(f"ogm_ge.{run.step}.{m}", run.device))
        for gradient, values in zip(gradients, noise.split(sizes), strict=True):
            spread = noise_spread(gradient, self.config.noise)
            gradient.mul_(factor).addcmul_(values.view_as(gradient), spread)

    def noise(self, size: int, chance: torch.Generator) -> Tensor:
        """Normal numbers ``(size,)``, drawn in one go into memory that is kept: fresh memory costs half as much again."""
        if self.drawn.numel() < size or self.drawn.device != chance.device:
            self.drawn = torch.empty(size, device=chance.device)
        return self.drawn[:size].normal_(generator=chance)
