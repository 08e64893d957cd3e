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

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


class Products(NamedTuple):
    """Scalar products of the gradients of a fused and of an own loss."""

    fused: float  # g_f . g_f
    own: float  # g_u . g_u
    both: float  # g_f . g_u


def pareto_weights(fused: Tensor, own: Tensor) -> tuple[float, float]:
    """``(a_f, a_u)`` of the gradients ``(D,)`` of an encoder by the fused and by the modality's own loss."""
    return weights_of(products([fused], [own]))


def pareto_gradient(fused: Tensor, own: Tensor, weights: tuple[float, float], gamma: float) -> Tensor:
    """``gamma h``, no shorter than ``gamma |g_f + g_u|``, of gradients of one shape and the encoder's weights."""
    a, b = coefficients(weights, products([fused], [own]), gamma)
    return a * fused + b * own


def products(fused: Sequence[Tensor], own: Sequence[Tensor]) -> Products:
    """The three scalar products of two gradients, each given in parts of any shape."""
    pairs = [(f.reshape(-1), u.reshape(-1)) for f, u in zip(fused, own, strict=True)]
    each = torch.stack([torch.stack([f @ f, u @ u, f @ u]) for f, u in pairs])
    return Products(*each.double().sum(dim=0).tolist())


def weights_of(of: Products) -> tuple[float, float]:
    """``(a_f, a_u)`` of gradients with these products."""
    if of.both >= 0:
        return 0.5, 0.5
    # The minimum over a of |a g_f + (1 - a) g_u|^2; where the dot product is negative it lies between 0 and 1.
    share = (of.own - of.both) / (of.fused + of.own - 2 * of.both)
    return share, 1 - share


def coefficients(weights: tuple[float, float], of: Products, gamma: float) -> tuple[float, float]:
    """What ``g_f`` and ``g_u`` are multiplied by in ``gamma h``."""
    a, b = 2 * weights[0], 2 * weights[1]
    length = math.sqrt(max(a * a * of.fused + b * b * of.own + 2 * a * b * of.both, 0.0))
    summed = math.sqrt(max(of.fused + of.own + 2 * of.both, 0.0))
    longer = gamma * max(1.0, summed / length if length > 0 else 1.0)
    return a * longer, b * longer


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
    accumulates = False  # the own gradients are told from the fused ones by the order of the backward passes

    class Config(Config):
        gamma: float = Field(1.5, gt=0, description="gamma: length of the combined gradient over that of the sum")
        unimodal: float = Field(1.0, ge=0, description="weight of the modalities' own losses; 1 in the paper, 0 none")
        rescale: Literal["encoder", "tensor"] = Field(
            "encoder", description="what keeps its length: the encoder (paper), or each tensor (public code)"
        )

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.own: dict[str, dict[Tensor, Tensor]] = {}  # g_u of the batch, by modality and parameter

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return super().losses(output, batch, phase, run) | own_losses(output, batch.labels, self.config.unimodal)

    def backward(self, losses: Mapping[str, Tensor], run: Run) -> None:
        own = {name: loss for name, loss in losses.items() if name.startswith("own/")}
        if own:
            torch.stack(list(own.values())).sum().backward(retain_graph=True)
            for m, encoder in self.model.encoders.items():
                self.own[m] = {p: p.grad for p in encoder.parameters() if p.grad is not None}
                encoder.zero_grad(set_to_none=True)  # what comes next is the fused loss's alone
        super().backward({name: loss for name, loss in losses.items() if name not in own}, run)

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        rows = float(run.sum(torch.tensor(float(len(batch)), device=run.device)))
        for m, found in self.own.items():
            reached = [p for p in self.model.encoders[m].parameters() if p in found or p.grad is not None]
            fused, own = [_or_zeros(p.grad, p) for p in reached], [_or_zeros(found.get(p), p) for p in reached]
            if not reached:  # a frozen encoder
                continue
            if rows != len(batch):  # the fused gradients were averaged over processes; the own ones must be too
                own = [run.sum(u * len(batch)) / rows for u in own]
            weights = weights_of(products(fused, own))
            run.log(f"fused_share/{m}", weights[0])
            tensors = [([f], [u]) for f, u in zip(fused, own, strict=True)]
            for some, others in tensors if self.config.rescale == "tensor" else [(fused, own)]:
                a, b = coefficients(weights, products(some, others), self.config.gamma)
                torch._foreach_mul_(some, a)
                torch._foreach_add_(some, others, alpha=b)
            for parameter, gradient in zip(reached, fused, strict=True):
                parameter.grad = gradient
        self.own = {}


def _or_zeros(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if gradient is None else gradient
