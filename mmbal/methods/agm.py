"""AGM: speed up or slow down each encoder so that the modalities' losses keep the ratio that they have on average.

Li, Li, Hu, Lei, Li and Zhou, "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV 2023,
arXiv 2308.07686.

    phi_m = the Shapley value of m in the game v(S) = f(x_S, 0), v({}) = 0     logits; M = 2: (f(a,v) - f(0,v) + f(a,0)) / 2
    S_m   = mean_i CE(softmax(phi_m)[i], y_i),   Sbar_m = mean of S_m over the steps before
    r_m   = exp(M / (M - 1) (mean_k S_k - S_m)),   tau_m = exp(M / (M - 1) (mean_k Sbar_k - Sbar_m))
    g_m <- kappa_m g_m,   kappa_m = exp(alpha min(tau_m - r_m, cap))           for the gradients of encoder m

Here x_S keeps the inputs of the modalities in S and sets the others to zero. For M = 2, r_a = exp(S_v - S_a). An encoder
that is further ahead than usual (r_m > tau_m) is slowed, and one that is less far ahead is sped up.

Deviations: the masked logits come from features in evaluation mode, as in the public code (`features = evaluation`, one
more forward pass of the encoders); `features = training` uses the features of the step, which costs almost nothing. A zero
input is encoded as one row. The public code passes the gradient through phi_m, which also scales the decision weights of a
linear head; here, and in a public benchmark, only encoders are scaled. That benchmark reverses the sign of both exponents
for every M, so it speeds up the modality that is ahead; here the paper's sign holds for every M. The public code also clips
the gradient (to norm 1 on CREMA-D, 5 elsewhere) where an entry of the head's gradient is large: use `optimiser.clip`. The
cap of 10 and the probability floor of 1e-8 are the public code's. A sample without a modality does not count in S_m.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.maths.confidence import means, true_class_probability
from mmbal.maths.shapley import shapley_values
from mmbal.methods.base import Method, Phase, Run, scale_gradients
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.predictions.format import subsets_of
from mmbal.registry import methods

FLOOR = 1e-8  # smallest probability in S_m


def responses(
    head: Callable[[Mapping[str, Tensor]], Tensor], features: Mapping[str, Tensor], empty: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """``phi_m (B, C)``: each modality's share of the logits ``head(features)``; the shares sum to the logits.

    ``empty[m]`` is the feature of a zero input, of one row or of B rows. The game has 2^M coalitions.
    """
    names = tuple(sorted(features))
    value = {
        coalition: head({m: features[m] if m in coalition else empty[m].expand_as(features[m]) for m in names})
        for coalition in subsets_of(names)[1:]
    }
    value[()] = torch.zeros_like(value[names])
    return shapley_values(value, names)


def modulation(
    losses: Mapping[str, float], running: Mapping[str, float], alpha: float, cap: float = 10.0
) -> dict[str, float]:
    """``kappa_m`` of the losses ``S_m`` of this step and their running means ``Sbar_m`` of the steps before."""

    def ratio(of: Mapping[str, float], m: str) -> float:
        return math.exp(len(of) / max(len(of) - 1, 1) * (sum(of.values()) / len(of) - of[m]))

    return {m: math.exp(alpha * min(ratio(running, m) - ratio(losses, m), cap)) for m in losses}


@methods.register(family="gradient modulation", year=2023, paper="2308.07686", status="exact", off={"alpha": 0.0})
class AGM(Method):
    """Scales the encoders' gradients by how far the ratio of their losses is from its running mean."""

    at_least = 2

    class Config(Config):
        alpha: float = Field(1.0, ge=0, description="alpha: strength of the modulation; 0: none (published: 1 to 3)")
        cap: float = Field(10.0, gt=0, description="largest tau_m - r_m: 10, or 7 in a public benchmark")
        starts: int = Field(0, ge=0, description="first epoch of modulation")
        ends: int | None = Field(None, ge=0, description="epoch where modulation ends; none: never")
        features: Literal["evaluation", "training"] = Field(
            "evaluation",
            description="features of masked inputs: encoded again in evaluation mode, or those of the step",
        )

    running: Tensor  # Sbar_m (M,), modalities by name
    seen: Tensor  # the steps behind each of them (M,)

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.names = sorted(model.modalities)
        self.register_buffer("running", torch.zeros(len(self.names)))
        self.register_buffer("seen", torch.zeros(len(self.names)))

    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        losses = self.measure(output, batch, run)
        running = dict(zip(self.names, self.running.tolist(), strict=True))
        active = self.config.starts <= run.epoch and (self.config.ends is None or run.epoch < self.config.ends)
        factors = modulation(losses, {m: running[m] for m in losses}, self.config.alpha, self.config.cap)
        for m, factor in factors.items() if active else ():
            run.log(f"modulation/{m}", factor)
            scale_gradients(self.model.encoders[m], factor)
        for m, loss in losses.items():
            place = self.names.index(m)
            self.seen[place] += 1
            self.running[place] += (loss - self.running[place]) / self.seen[place]

    @torch.no_grad()
    def measure(self, output: Output, batch: Batch, run: Run) -> dict[str, float]:
        """``S_m`` of a batch, over all processes."""
        zeros = {m: torch.zeros_like(x[:1]) for m, x in batch.inputs.items()}
        there = {m: torch.ones_like(p[:1]) for m, p in batch.present.items()}
        with evaluating(self.model.encoders):
            empty = self.model.encode(Batch(zeros, batch.labels[:1], batch.index[:1], there))
            again = self.config.features == "evaluation"
            features = self.model.encode(batch) if again else output.inputs
        shares = responses(self.model.fusion.head, features, empty)
        each = {m: -true_class_probability(phi, batch.labels).clamp(min=FLOOR).log() for m, phi in shares.items()}
        return means(each, output.present, run.sum)
