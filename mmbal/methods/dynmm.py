"""DynMM: a gate gives each sample to experts, one for each modality and one for all, and pays for those that it uses.

Xue and Marculescu, "Dynamic Multimodal Fusion", CVPR workshops 2023, arXiv 2204.00102. The experts are the modalities' own
decisions o_1, ..., o_M and the fused one o_0; the gate sees the features side by side:

    g = softmax((G [z_1, ..., z_M]) / T),          o = sum_e g_e o_e
    L = CE(o, y) + lambda mean_i sum_e g_ie C_e,    C_e: the share of the encoders that the expert needs
    before the gate learns:   L = CE(o_0, y) + own sum_m CE(o_m, y)

`gate = hard`: the best expert alone decides, with the gradient of the soft gate (straight-through). `gate = gumbel`: the
same with Gumbel noise in training.

Deviations: in the paper the gate sees the inputs, so that encoders which it leaves out need not run; here it sees features:
nothing is saved, and C_e only says what could be. C_e counts modalities (`cost` weighs them); the paper counts
multiplications. The experts are trained in the first part of the run; the public code loads trained ones. The expert of a
missing modality is never chosen. The gate is a layer of 64 units and one of M + 1.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.errors import ConfigError, did_you_mean
from mmbal.methods.base import Method, Phase, Run, Stage, own_losses
from mmbal.models.draws import uniform_by_row
from mmbal.models.fusion import linear, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods

HIDDEN = 64  # units of the gate


def gate_weights(logits: Tensor, present: Tensor, temperature: float, hard: bool = False) -> Tensor:
    """``g (B, E)`` of the gate's logits ``(B, E)``, 0 where the expert is not ``present (B, E)``.

    ``hard``: 1 for the best expert and 0 for the others, with the gradient of the soft weights.
    """
    soft = (logits / temperature).masked_fill(~present, torch.finfo(logits.dtype).min).softmax(dim=1)
    if not hard:
        return soft
    best = torch.zeros_like(soft).scatter(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return best - soft.detach() + soft


def expert_costs(cost: Mapping[str, float], names: list[str]) -> Tensor:
    """``C (M + 1,)``: each modality's share of all costs, 1 where not given; the fused expert's, the last, is 1."""
    each = torch.tensor([cost.get(m, 1.0) for m in names])
    return torch.cat([each / each.sum(), torch.ones(1)])


@methods.register(
    family="decision layer",
    year=2023,
    paper="2204.00102",
    needs={"additive"},
    status="with stated deviations",
    off={"gate": "none", "own": 0.0},
)
class DynMM(Method):
    """Mixes the modalities' decisions and the fused one by a learned gate that pays for what it uses."""

    at_least = 2

    cost: Tensor
    opened: Tensor
    noise: Tensor  # of the batch's rows and the experts, where the gate is Gumbel's

    class Config(Config):
        gate: Literal["soft", "hard", "gumbel", "none"] = Field("soft", description="how experts are mixed")
        temperature: float = Field(1.0, gt=0, description="T: temperature of the gate")
        resources: float = Field(0.1, ge=0, description="lambda: weight of the cost; 0 none")
        cost: dict[str, float] = Field({}, description="cost of a modality's encoder; 1 where not given")
        own: float = Field(1.0, ge=0, description="weight of the modalities' own losses before the gate learns")
        warm_up: float = Field(0.5, ge=0, lt=1, description="share of the epochs before the gate learns")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        for m, cost in self.config.cost.items():
            if m not in model.modalities:
                raise ConfigError(f"dynmm.cost: there is no modality '{m}'.", did_you_mean(m, model.modalities))
            if not 0 < cost < float("inf"):
                raise ConfigError(f"dynmm.cost: the cost of '{m}' is {cost}; it must be positive and finite.")
        dims = model.fusion.dims
        self.hidden = nn.ModuleDict({m: linear(d, HIDDEN, f"dynmm.{m}") for m, d in dims.items()})
        self.out = linear(HIDDEN, len(dims) + 1, "dynmm.out")
        self.register_buffer("cost", expert_costs(self.config.cost, self.names), persistent=False)
        self.register_buffer("opened", torch.tensor(False))  # whether the gate has begun to learn

    def stages(self, epochs: int) -> list[Stage]:
        first = 0 if self.config.gate == "none" else min(epochs - 1, round(self.config.warm_up * epochs))
        last = Stage("gate", epochs - first)
        return [Stage("experts", first, ("encoders", "fusion")), last] if first else [last]

    def on_epoch_start(self, run: Run) -> None:
        self.opened.fill_(self.config.gate != "none" and run.stage is not None and run.stage.name == "gate")

    def on_features(self, features: dict[str, Tensor], batch: Batch, run: Run) -> dict[str, Tensor]:
        if self.config.gate == "gumbel":
            rows, experts = len(run.train.store), [*self.names, "all"]
            drawn = [uniform_by_row(f"dynmm.{run.step}.{e}", batch.index, rows) for e in experts]
            self.noise = -(-torch.stack(drawn, dim=1).clamp(1e-6, 1 - 1e-6).log()).log()
        return features

    def mixture(self, output: Output) -> Tensor:
        """``g (B, M + 1)``: the modalities in the order of their names, then the fused expert."""
        logits = self.out(total({m: layer(output.features[m]) for m, layer in self.hidden.items()}).relu()).float()
        if self.config.gate == "gumbel" and self.training:
            logits = logits + self.noise
        own = [output.present[m] for m in self.names]
        present = torch.stack([*own, torch.ones_like(own[0])], dim=1)
        return gate_weights(logits, present, self.config.temperature, self.config.gate != "soft")

    def fuse(self, output: Output) -> Output:
        if not self.opened or output.contribution is None:
            return output
        *own, fused = self.mixture(output)[..., None].unbind(dim=1)
        each = zip(self.names, own, strict=True)
        parts = {m: g * output.logits[m] + fused * output.contribution[m] for m, g in each}
        return replace(output, contribution=parts, fused=total(parts))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run)
        if not self.opened:
            return found | own_losses(output, batch.labels, self.config.own)
        weights = self.mixture(output)
        for name, weight in zip((*self.names, "all"), weights.detach().mean(dim=0), strict=True):
            run.log(f"gate/{name}", weight)
        if self.config.resources > 0:
            found["resources"] = self.config.resources * (weights @ self.cost).mean()
        return found
