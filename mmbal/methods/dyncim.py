"""DynCIM: a curriculum over samples (easy ones first) and one over modalities (those that lag), and a gated fusion.

After Qian, Han et al., "DynCIM: Dynamic Curriculum for Imbalanced Multimodal Learning", 2025, arXiv 2503.06456. With p_f
the fused and p_m the unimodal probabilities, L_f and L_m their cross-entropies:

    sample i:    difficulty d_i = sum_j a_j x_ij,  a_j = std_i(x_ij) / sum_k std_i(x_ik)  (what varies tells samples apart)
                 deviation    x_i1 = 1 - p_f[i, y]
                 consistency  x_i2 = mean_m JS(p_m, p_f) / log 2
                 stability    x_i3 = |L_f,i - E_i| / (L_f,i + E_i),  E_i the sample's loss at its last visit
                 weight       v_i = exp(-kappa (1 - t/T)_+ d_i),  scaled to mean one; T = ramp * epochs
    modality m:  improvement  r_m = max(1 - L_m(t) / L_m(t-1), 0.001),   HMIR = M / sum_m 1 / r_m
                 GMR = (prod_m L_f / L_m)^(1/M)               below 1: the fusion leaves its modalities behind
                 lambda_m = lambda (1 - GMR)_+ HMIR / r_m     most where m stagnates (HMIR / r_m has mean one)
    L = mean_i v_i (L_f,i + sum_m lambda_m L_m,i),    o = sum_m g_m o_m,   g = M softmax_m(u_m . z_m + c_m)

Deviations: our instantiation for any M: the formulas could not be obtained, and the public repository holds no code. u and
c start at zero, so the fusion starts as the plain sum; features get no gradient from the gate. A missing modality keeps
its bias share, ungated. lambda_m is lambda until the losses of two epochs are known.
"""

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.errors import ConfigError
from mmbal.methods.base import Method, Phase, Run
from mmbal.methods.parts.dyncim import DecisionGate, difficulty, indicators, lag, moments
from mmbal.models.fusion import LinearFusion, total
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


@methods.register(
    family="curriculum",
    year=2025,
    paper="2503.06456",
    status="our instantiation",
    off={"gate": False, "kappa": 0.0, "unimodal": 0.0},
)
class DynCIM(Method):
    """Weighs samples and modalities by two curricula, and gates the contributions of an additive fusion."""

    at_least = 2
    summed = ("seen", "sums")

    class Config(Config):
        kappa: float = Field(2.0, ge=0, description="kappa: how much less hard samples count at first; 0: all alike")
        ramp: float = Field(0.5, gt=0, le=1, description="T / epochs: when all samples count alike")
        unimodal: float = Field(1.0, ge=0, description="lambda: weight of the modalities' own losses; 0 none")
        gate: bool = Field(True, description="g: weigh the contributions in each sample by a learned gate")

    losses_before: Tensor
    emphasis: Tensor
    sample_loss: Tensor

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        if self.config.gate:
            if not isinstance(model.fusion, LinearFusion):
                hint = "Use --fusion concat, or --set method.gate=false."
                raise ConfigError("DynCIM gates the contributions of an additive fusion.", hint)
            self.gate = DecisionGate(model.fusion.dims)
        self.register_buffer("losses_before", torch.full((len(self.names),), torch.nan))
        self.register_buffer("emphasis", torch.ones(len(self.names)))

    def setup(self, run: Run) -> None:
        self.register_buffer("sample_loss", torch.full((len(run.train.store),), torch.nan))

    def fuse(self, output: Output) -> Output:
        if not self.config.gate or output.contribution is None:
            return output
        weight = self.gate(output.features, output.present)
        parts = {m: part * weight[m][:, None] for m, part in output.contribution.items()}
        return replace(output, contribution=parts, fused=total(parts), weights=weight)

    def on_epoch_start(self, run: Run) -> None:
        self.seen = torch.zeros(2, len(run.train.store), device=run.device)  # sum of losses and visits by sample
        self.sums = torch.zeros(2, len(self.names) + 1, device=run.device)  # the same by modality, the fused one last

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        if self.config.kappa == 0 and self.config.unimodal == 0:
            return super().losses(output, batch, phase, run)
        logits = [*(output.logits[m] for m in self.names), output.fused]
        have = torch.stack([*(output.present[m] for m in self.names), torch.ones_like(batch.labels, dtype=torch.bool)])
        each = torch.stack([cross_entropy(o, batch.labels, reduction="none") for o in logits]) * have
        self.sums += torch.stack([each.detach(), have.to(each.dtype)]).sum(dim=2)
        self.seen.index_add_(1, batch.index, torch.stack([each[-1].detach(), torch.ones_like(each[-1])]))
        *own, fused = (self.sample_weights(output, batch, run) * each).mean(dim=1)
        losses = {"fused": fused}
        for m, emphasis, loss in zip(self.names, self.emphasis, own, strict=True):
            run.log(f"emphasis/{m}", emphasis)
            losses[f"own/{m}"] = self.config.unimodal * emphasis * loss
        return losses

    @torch.no_grad()
    def sample_weights(self, output: Output, batch: Batch, run: Run) -> Tensor:
        """``v (B,)``; means and spreads are those of the whole batch, over all processes."""
        before = self.sample_loss[batch.index]
        values = indicators(output.fused, output.logits, output.present, batch.labels, before)
        mean, spread = moments(values, run.sum)
        for name, value in zip(("deviation", "consistency", "stability"), mean, strict=True):
            run.log(name, value)
        left = max(0.0, 1 - run.epoch / (self.config.ramp * run.epochs))
        weight = torch.exp(-self.config.kappa * left * difficulty(values, spread))
        whole, count = run.sum(torch.stack([weight, torch.ones_like(weight)]).sum(dim=1))
        return weight * count / whole

    def on_epoch_end(self, run: Run) -> None:
        (losses, visits), (sums, counts) = run.sum(self.seen), run.sum(self.sums)
        self.sample_loss.copy_(torch.where(visits > 0, losses / visits, self.sample_loss))
        *own, fused = (sums / counts.clamp(min=1)).tolist()
        if not (bool(self.losses_before.isnan().any()) or fused == 0 or 0 in own):
            self.emphasis.copy_(torch.tensor(lag(self.losses_before.tolist(), own, fused)))
        self.losses_before.copy_(torch.tensor(own))
