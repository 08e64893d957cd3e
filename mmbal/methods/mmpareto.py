"""MMPareto: give each encoder a direction that harms neither its multimodal nor its unimodal loss, and do not let it shrink.

Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024, arXiv 2405.17730. For
encoder m, with g_f the gradient of the fused loss and g_u that of the modality's own loss:

    (a_f, a_u) = (1/2, 1/2)                                  where g_f . g_u >= 0
                 argmin |a_f g_f + a_u g_u|, a_f + a_u = 1   where they conflict
    h = 2 a_f g_f + 2 a_u g_u,   h <- h max(1, |g_f + g_u| / |h|)
    g_m <- gamma h;   the fusion learns from the sum of the losses

Deviations: the own losses are those of the fusion's parts o_m; the paper has a classifier of its own for each. The public
code takes |g_f + g_u| / |h| for each parameter tensor alone (`rescale = tensor`); the paper for the encoder. It sends a
right angle to the solver, and keeps weights within [.001, .999], which only matters where one gradient is zero: there
the weights are 1/2 here. A copy in a public benchmark loses the solver's result, so that its encoders stand still where
losses conflict. Each modality is treated by itself, so any M is the same rule.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def pareto_weights(fused: Tensor, own: Tensor) -> tuple[float, float]:
    """``(a_f, a_u)`` of the gradients ``(D,)`` of an encoder by the fused and by the modality's own loss."""
    dot = float(fused @ own)
    if dot >= 0:
        return 0.5, 0.5
    # The minimum over a of |a g_f + (1 - a) g_u|^2; where the dot product is negative it lies between 0 and 1.
    share = (float(own @ own) - dot) / (float(fused @ fused) + float(own @ own) - 2 * dot)
    return share, 1 - share


def pareto_gradient(fused: Tensor, own: Tensor, weights: tuple[float, float], gamma: float) -> Tensor:
    """``gamma h``, no shorter than ``gamma |g_f + g_u|``, of gradients of one shape and the encoder's weights."""
    found = 2 * weights[0] * fused + 2 * weights[1] * own
    length = found.norm()
    longer = (fused + own).norm() / length.clamp(min=torch.finfo(length.dtype).tiny)
    return gamma * found * longer.clamp(min=1.0)


@methods.register(
    family="multi-objective",
    year=2024,
    paper="2405.17730",
    status="with stated deviations",
    off={"unimodal": 0.0},
)
class MMPareto(Method):
    """Adds the modalities' own losses, and combines each encoder's two gradients without conflict."""

    at_least = 2

    class Config(Config):
        gamma: float = Field(1.5, gt=0, description="gamma: length of the combined gradient over that of the sum")
        unimodal: float = Field(1.0, ge=0, description="weight of the modalities' own losses; 1 in the paper, 0 none")
        rescale: Literal["encoder", "tensor"] = Field(
            "encoder", description="what keeps its length: the encoder (paper), or each tensor (public code)"
        )

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.own: dict[str, list[Tensor]] = {}  # g_u of the batch, tensor by tensor

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return super().losses(output, batch, phase, run) | own_losses(output, batch.labels, self.config.unimodal)

    def backward(self, losses: Mapping[str, Tensor], run: Run) -> None:
        own = {name: loss for name, loss in losses.items() if name.startswith("own/")}
        if own:
            torch.stack(list(own.values())).sum().backward(retain_graph=True)
            self.own = {m: [g.clone() for g in self.gradients(m)] for m in self.model.modalities}
        super().backward({name: loss for name, loss in losses.items() if name not in own}, run)

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        rows = run.sum(torch.tensor(float(len(batch)), device=run.device))
        for m, parts in self.own.items():
            gradients = self.gradients(m)
            if not gradients:  # a frozen encoder
                continue
            # Gradients were summed over losses and averaged over processes; the own ones must be averaged likewise.
            own = run.sum(torch.cat([g.flatten() for g in parts]) * len(batch)) / rows
            fused = torch.cat([g.flatten() for g in gradients]) - own
            weights = pareto_weights(fused, own)
            run.log(f"fused_share/{m}", weights[0])
            sizes = [g.numel() for g in gradients]
            units = sizes if self.config.rescale == "tensor" else [len(fused)]
            pairs = zip(fused.split(units), own.split(units), strict=True)
            found = torch.cat([pareto_gradient(f, u, weights, self.config.gamma) for f, u in pairs])
            for gradient, part in zip(gradients, found.split(sizes), strict=True):
                gradient.copy_(part.view_as(gradient))
        self.own = {}

    def gradients(self, m: str) -> list[Tensor]:
        """The gradients of encoder m, of the parameters that have one."""
        return [p.grad for p in self.model.encoders[m].parameters() if p.grad is not None]
