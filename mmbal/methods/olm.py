"""OLM: multiply the logits in each loss by a learned weight, which is larger for decisions whose loss falls slowly.

Zong, Ding, Li, Li and Zheng, "Balancing Multimodal Learning via Online Logit Modulation", IJCAI 2024,
www.ijcai.org/proceedings/2024.

    L     = sum_k CE(w_k o_k, y)                          k: the fused decision and each modality's own
    r_k   = (L_k / L_k(0)) / mean_j (L_j / L_j(0))        L_k(0): the loss at the first step
    L_w   = sum_i sum_k | w_k ||o_k,i|| - r_k mean_j w_j ||o_j,i|| |          the right-hand term is a constant
    w    <- a step of Adam on L_w

A decision whose loss falls slower than the others' gets larger logits, hence larger gradients. Tests use o, without w.

Deviations: in the public code w also collects the gradients of the cross-entropies; here L_w alone changes it, as in the
formula. The code takes L_k(0) anew at each step of the first epoch, so that r = 1 there. L_w is a sum over samples, as
there; with Adam its scale does not matter. w is kept at 0.001 or more. The paper adds a block that makes fused features
from layers between; here the fusion is the model's. `own` and `rate` 0 are joint training. A sample without m counts in
none of m's terms, nor in the mean over j.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import mean_cross_entropy
from mmbal.methods.base import Method, Phase, Run
from mmbal.models.fusion import masked_cross_entropy
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods

SMALLEST = 1e-3
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's defaults


def relative_rates(losses: Tensor, initial: Tensor) -> Tensor:
    """``r (K,)`` of the losses now and at the start."""
    ratio = losses / initial.clamp(min=1e-12)
    return ratio / ratio.mean()


def modulation_loss(weights: Tensor, norms: Tensor, rates: Tensor, present: Tensor | None = None) -> Tensor:
    """``L_w`` of ``w (K,)``, the norms ``(B, K)`` of the logits, and ``r (K,)``; differentiable in w alone."""
    there = torch.ones_like(norms) if present is None else present.to(norms)
    scaled = weights * norms.detach()
    mean = (scaled * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
    return ((scaled - (mean * rates).detach()).abs() * there).sum()


@methods.register(
    family="loss weighting",
    year=2024,
    paper="www.ijcai.org/proceedings/2024",
    status="with stated deviations",
    off={"own": 0.0, "rate": 0.0},
)
class OLM(Method):
    """Weighs logits online, and adds own losses."""

    at_least = 2

    class Config(Config):
        rate: float = Field(1e-3, ge=0, description="learning rate of w; 0: w stays 1")
        own: float = Field(1.0, ge=0, description="weight of the modalities' own losses; 1 in the paper")

    weights: Tensor  # w (K,): the fused one, then modalities by name
    initial: Tensor  # L_k(0) (K,); NaN until a first step has measured it
    moments: Tensor  # Adam's two running means (2, K)
    updates: Tensor  # steps of Adam

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        many = 1 + len(self.names)
        self.register_buffer("weights", torch.ones(many))
        self.register_buffer("initial", torch.full((many,), torch.nan))
        self.register_buffer("moments", torch.zeros(2, many))
        self.register_buffer("updates", torch.tensor(0))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        fused, *own = self.weights.tolist()
        found = super().losses(output.with_fused(fused * output.fused), batch, phase, run)
        for m, weight in zip(self.names, own, strict=True):
            if self.config.own:
                loss = masked_cross_entropy(weight * output.logits[m], batch.labels, output.present[m])
                found[f"own/{m}"] = self.config.own * loss
        return found

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        if self.config.rate == 0:
            return
        keys = ["", *self.names]  # no modality is called ""
        logits = {"": output.fused.detach().float()} | {m: output.logits[m].detach().float() for m in self.names}
        present = {"": torch.ones_like(batch.labels, dtype=torch.bool)} | dict(output.present)
        scaled = {k: w * logits[k] for k, w in zip(keys, self.weights.tolist(), strict=True)}
        known = mean_cross_entropy(scaled, batch.labels, present, run.sum)
        now = torch.tensor([known.get(k, torch.nan) for k in keys]).to(self.weights)
        self.initial.copy_(torch.where(self.initial.isnan(), now, self.initial))
        there = torch.stack([present[k] for k in keys], dim=1) & ~now.isnan()
        rates = torch.ones_like(now)
        rates[~now.isnan()] = relative_rates(now[~now.isnan()], self.initial[~now.isnan()])
        weights = self.weights.clone().requires_grad_()
        norms = torch.stack([logits[k].norm(dim=1) for k in keys], dim=1)
        (slope,) = torch.autograd.grad(modulation_loss(weights, norms, rates, there), weights)
        self.step(run.sum(slope))
        for name, weight in zip(("weight", *(f"weight/{m}" for m in self.names)), self.weights.tolist(), strict=True):
            run.log(name, weight)

    def step(self, slope: Tensor) -> None:
        """One step of Adam on w; by hand, so that its state is saved with the method's."""
        self.updates += 1
        self.moments[0].lerp_(slope, 1 - BETAS[0])
        self.moments[1].lerp_(slope**2, 1 - BETAS[1])
        mean, square = (x / (1 - b ** int(self.updates)) for x, b in zip(self.moments, BETAS, strict=True))
        self.weights.sub_(self.config.rate * mean / (square.sqrt() + EPSILON)).clamp_(min=SMALLEST)
