"""InfoReg: early in training, keep the encoder of the modality ahead near its weights at the start of the epoch.

Huang, Wei, Yang and Hu, "Adaptive Unimodal Regulation for Balanced Multimodal Information Acquisition", CVPR 2025,
arXiv 2503.18595.

    L      = CE(o, y) + lambda sum_m CE(o_m, y)
    Tr_m   = sum over weight tensors of the mean squared gradient of encoder m, mean over an epoch's steps (Fisher trace)
    mean_m = mean of Tr_m over the last `window` epochs
    prime window of m:  (mean_m(t) - mean_m(t-1)) / mean_m(t) > threshold,  and the first epoch
    g_m   <- g_m + beta_m exp(tanh(s_m - mean_{k != m} s_k)) (theta_m - theta_m(start of epoch))    where m is ahead
    s_m    = mean_i softmax(o_m)[i, y_i]

Deviations: in the public code the audio trace alone opens the window for both modalities, tanh takes a difference of sums
over the batch, so it is 0 or 1, and the trace contains the regulariser's own gradient. Here each modality has its window,
s is a mean, and the trace is that of the losses. The code sums over its last 10 epochs and divides by 10 even where there
are fewer; here the mean is over the epochs there are. The code sets beta by hand to 0.95 for audio and 0.1 for video; here
it is one number, unless `betas` names modalities. For M > 2, a modality is ahead of the mean of the others. Weight tensors
are those of two or more dimensions. A sample without m does not count in s_m.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.errors import ConfigError, did_you_mean
from mmbal.maths.confidence import true_class_confidence
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def regulation(scores: Mapping[str, float]) -> dict[str, float]:
    """``exp(tanh(s_m - mean of the others))`` for each modality that is ahead of the others; 0 for the rest."""

    def strength(m: str) -> float:
        others = [score for name, score in scores.items() if name != m]
        gap = scores[m] - sum(others) / len(others) if others else 0.0
        return math.exp(math.tanh(gap)) if gap > 0 else 0.0

    return {m: strength(m) for m in scores}


def in_prime_window(traces: Tensor, window: int, threshold: float) -> Tensor:
    """Whether each modality is in its prime window ``(M,)``, after traces ``(T, M)`` of T epochs, oldest first."""
    if len(traces) < 2:
        return torch.ones(traces.shape[1], dtype=torch.bool)
    now, before = traces[-window:].mean(dim=0), traces[:-1][-window:].mean(dim=0)
    return now - before > threshold * now


def fisher_trace(module: nn.Module) -> float:
    """Sum over the module's weight tensors of the mean squared gradient of their entries."""
    found = [p.grad.square().mean() for p in module.parameters() if p.grad is not None and p.dim() >= 2]
    return float(torch.stack(found).sum()) if found else 0.0


@methods.register(
    family="gradient modulation",
    year=2025,
    paper="2503.18595",
    status="with stated deviations",
    off={"own": 0.0, "beta": 0.0},
)
class InfoReg(Method):
    """Pulls the encoder of the modality ahead back to the start of the epoch, in its prime learning window."""

    at_least = 2

    class Config(Config):
        own: float = Field(1.0, ge=0, description="lambda: weight of the modalities' own losses")
        beta: float = Field(0.95, ge=0, description="beta: strength of the regulariser; 0: none")
        betas: dict[str, float] = Field({}, description="beta by modality, where it is another")
        threshold: float = Field(0.05, ge=0, description="K: growth of the mean trace that still is a prime window")
        window: int = Field(10, ge=1, description="epochs in the mean of the traces")

    traces: Tensor  # Tr_m of the last epochs (window + 1, M), oldest first, modalities by name; NaN where not known

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        for m in self.config.betas:
            if m not in model.modalities:
                raise ConfigError(f"inforeg.betas: there is no modality '{m}'.", did_you_mean(m, model.modalities))
        self.names = sorted(model.modalities)
        self.beta = {m: self.config.betas.get(m, self.config.beta) for m in self.names}
        self.register_buffer("traces", torch.full((self.config.window + 1, len(self.names)), torch.nan))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        return super().losses(output, batch, phase, run) | own_losses(output, batch.labels, self.config.own)

    def on_epoch_start(self, run: Run) -> None:
        self.anchors = {m: [p.detach().clone() for p in self.model.encoders[m].parameters()] for m in self.names}
        self.steps = torch.zeros(1 + len(self.names))  # the number of steps, and the sum of Tr_m
        known = self.traces[~self.traces.isnan().any(dim=1)]
        prime = in_prime_window(known, self.config.window, self.config.threshold)
        self.prime = dict(zip(self.names, prime.tolist(), strict=True))
        for m, inside in self.prime.items():
            run.log(f"prime_window/{m}", float(inside))

    @torch.no_grad()
    def on_gradients(self, output: Output, batch: Batch, phase: Phase, run: Run) -> None:
        self.steps += torch.tensor([1.0, *(fisher_trace(self.model.encoders[m]) for m in self.names)])
        if not any(self.beta.values()):
            return
        scores = true_class_confidence(output.logits, batch.labels, output.present, run.sum)
        for m, strength in regulation(scores).items():
            strength *= self.beta[m] * self.prime[m]
            run.log(f"regulation/{m}", strength)
            for parameter, anchor in zip(self.model.encoders[m].parameters(), self.anchors[m], strict=True):
                if strength and parameter.grad is not None:
                    parameter.grad.add_(parameter - anchor, alpha=strength)

    def on_epoch_end(self, run: Run) -> None:
        mean = (self.steps[1:] / self.steps[0].clamp(min=1)).to(self.traces)
        for m, trace in zip(self.names, mean.tolist(), strict=True):
            run.log(f"fisher_trace/{m}", trace)
        self.traces.copy_(torch.cat([self.traces[1:], mean[None]]))
