"""UDML: learn the noise of each modality, and weight it by low noise and by how little the model depends on it so far.

Wei, Zhang, Chen, He and Duan, "Unbiased Dynamic Multimodal Fusion", CVPR 2026 (Findings), arXiv 2603.19681. In the later
epochs a modality's input gets noise of a known strength, which a head on its features learns to state:

    x_m <- x_m + sigma_m e,  e ~ N(0, 1)          s_m = exp(h_m(z_m) / 2) is to be 1 + sigma_m,  1 for a clean input
    t_m = M s_m^-2 / sum_k s_k^-2                 less of what is noisier;  M = 2:  t_a = 2 s_v^2 / (s_a^2 + s_v^2)
    w_m = M (t_m / d_m) / sum_k (t_k / d_k)       less of what decides most:  d_m = mean_i sum_c |o_imc|
    o   = fusion of (1 + w_m) z_m,     L = CE(o, y) + gamma sum_m CE(o_m, y) + eta sum_m mean (s_m - 1 - sigma_m)^2

Deviations: d is a running mean over training batches; the public code keeps that of the last batch of training for the test.
There the test inputs of CREMA-D get noise too: here no input does outside of training. The paper measures the dependence d
by dropping modalities, the public code as above. Its weights have a gradient, by which the classifier can make
a head misstate the noise; here they are constants. They follow the heads from the start, which give 1 then, where the code
waits for ten epochs of noise. Its probabilistic features, with a weight of 1e-5, are not offered. Inputs here have unit
variance, so sigma is in units of their spread; words are dropped with chance sigma / (1 + sigma). A modality gets no noise
in half of the rows. M > 2 and missing modalities: the sums run over the modalities that a row has.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.methods.parts.modality_dropout import faded
from mmbal.models.draws import named_generator
from mmbal.models.fusion import linear
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.models.whole_batch import WholeBatch, mean_over
from mmbal.registry import methods

MOST = 6.0  # bound of h_m: a spread of 20, far beyond any noise that is added; its exponential stays finite


def unbiased_weights(spread: Tensor, dependence: Tensor, present: Tensor) -> Tensor:
    """``w (B, M)``, with mean one over the modalities ``present (B, M)``, of spreads ``s (B, M)`` and ``d (M,)``."""
    share = present / (spread.square() * dependence)
    return share * present.sum(dim=1, keepdim=True) / share.sum(dim=1, keepdim=True).clamp(min=1e-12)


def dependence(logits: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """Sums of ``sum_c |o_imc|`` and the number of rows ``(M, 2)``, modalities in the order of their names."""
    sizes = {m: o.detach().float().abs().sum(dim=1) * present[m] for m, o in logits.items()}
    return torch.stack([torch.stack([sizes[m].sum(), present[m].sum()]) for m in sorted(logits)])


@methods.register(
    family="fusion",
    year=2026,
    paper="2603.19681",
    status="with stated deviations",
    off={"weigh": False, "noise": 0.0, "gamma": 0.0, "eta": 0.0},
)
class UDML(Method):
    """Weighs features by learned noise and by how much the model depends on each modality."""

    at_least = 2

    depend: Tensor
    level: dict[str, Tensor]  # sigma of the batch's rows
    stated: Tensor  # s of the batch

    class Config(Config):
        weigh: bool = Field(True, description="weigh the features by w")
        noise: float = Field(3.0, ge=0, description="largest sigma, in units of the inputs' spread; 0: no noise")
        gamma: float = Field(1.0, ge=0, description="gamma: weight of the modalities' own losses")
        eta: float = Field(0.1, ge=0, description="eta: weight of stating the noise")
        starts: int | None = Field(None, ge=0, description="first epoch with noise; half of all if not set")
        momentum: float = Field(0.9, ge=0, lt=1, description="of the running mean d")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        self.heads = nn.ModuleDict({m: linear(d, 1, f"udml.{m}") for m, d in model.fusion.dims.items()})
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)  # all modalities are said to be clean at first
        self.register_buffer("depend", torch.full((len(self.names),), torch.nan))

    def on_batch(self, batch: Batch, run: Run) -> Batch:
        self.level = {m: torch.zeros(len(batch), device=run.device) for m in self.names}
        starts = run.epochs // 2 if self.config.starts is None else self.config.starts
        if self.config.noise == 0 or run.epoch < starts:
            return batch
        whole, inputs = WholeBatch(batch.index, len(run.train.store), run.sum), {}
        for m, x in batch.inputs.items():
            chance = named_generator(f"udml.{m}.{run.step}")
            # Drawn for the whole batch, of which a process takes its rows; half of the numbers fall on no noise.
            level = (2 * torch.rand(len(whole), generator=chance) - 1).clamp(min=0)[whole.place.cpu()]
            self.level[m] = self.config.noise * level.to(run.device)
            shape = (len(whole), *x.shape[1:])
            if x.is_floating_point():
                noise = torch.randn(shape, generator=chance)[whole.place.cpu()].to(x)
                there = batch.present[m].view(-1, *[1] * (x.dim() - 1))
                inputs[m] = x + there * self.level[m].view_as(there).to(x) * noise
            else:
                kept = torch.rand(shape, generator=chance)[whole.place.cpu()].to(x.device)
                inputs[m] = faded(x, 1 / (1 + self.level[m]), kept)
        return replace(batch, inputs=inputs)

    def spread(self, features: Mapping[str, Tensor]) -> Tensor:
        """``s (B, M)``: the strength of the noise, plus one, that the heads state of features or tokens."""
        pooled = {m: z.detach().mean(dim=1) if z.dim() == 3 else z.detach() for m, z in features.items()}
        stated = torch.cat([self.heads[m](pooled[m]) for m in self.names], dim=1).float()
        return (stated.clamp(-MOST, MOST) / 2).exp()

    def known_dependence(self) -> Tensor:
        """``d (M,)``; 1 for a modality that no batch has had so far."""
        return self.depend.nan_to_num(nan=1.0).clamp(min=1e-6)

    def on_features(self, features: dict[str, Tensor], batch: Batch, run: Run) -> dict[str, Tensor]:
        self.stated = self.spread(features)
        return features

    def fuse(self, output: Output) -> Output:
        if not self.config.weigh:
            return output
        present = torch.stack([output.present[m] for m in self.names], dim=1)
        weights = unbiased_weights(self.spread(output.inputs).detach(), self.known_dependence(), present).unbind(dim=1)
        scale = {
            m: (1 + w).view(-1, *[1] * (output.inputs[m].dim() - 1)) for m, w in zip(self.names, weights, strict=True)
        }
        return self.model.decide({m: scale[m] * x for m, x in output.inputs.items()}, output.present)

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        found = super().losses(output, batch, phase, run) | own_losses(output, batch.labels, self.config.gamma)
        if self.config.eta > 0:
            for stated, m in zip(self.stated.unbind(dim=1), self.names, strict=True):
                wrong = (stated - 1 - self.level[m]).square()
                found[f"stated/{m}"] = self.config.eta * mean_over(wrong, output.present[m])
        if self.config.weigh:
            total, rows = run.sum(dependence(output.logits, output.present)).unbind(dim=1)
            fresh = torch.where(rows > 0, total / rows.clamp(min=1), self.depend)
            kept = torch.where(self.depend.isnan(), fresh, self.depend)
            self.depend.copy_(self.config.momentum * kept + (1 - self.config.momentum) * fresh)
            for m, value in zip(self.names, self.known_dependence(), strict=True):
                run.log(f"dependence/{m}", value)
        return found
