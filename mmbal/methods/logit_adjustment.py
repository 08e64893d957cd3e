"""Logit adjustment: train with the class frequencies added to the logits, so that without them the decision is balanced.

Menon, Jayasumana, Rawat, Jain, Veit and Kumar, "Long-Tail Learning via Logit Adjustment", ICLR 2021, arXiv 2007.07314,
equation 10. With pi_c the frequency of class c in the training rows:

    L = CE(o + tau log pi, y),                     the decision in the test is that of o

Deviations: none for the fused loss. One pseudo-row is spread over the classes, so that log pi is finite. `own` adds the same
loss of each modality's own decision, so that each is balanced before the sum; it is 0 in the paper, which has one modality.
The rule `logit_adjustment` takes the frequencies out of a model that was trained without them, modality by modality.
"""

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.store.loader import Batch
from mmbal.decision.rules.logit_adjustment import log_frequencies
from mmbal.methods.base import Method, Phase, Run, own_losses
from mmbal.models.multimodal import MultimodalClassifier, Output
from mmbal.registry import methods


def adjusted(logits: Tensor, log_prior: Tensor, tau: float) -> Tensor:
    """``o + tau log pi (B, C)`` of logits ``(B, C)`` and log-frequencies ``(C,)``."""
    return logits + tau * log_prior


@methods.register(
    family="decision layer",
    year=2021,
    paper="2007.07314",
    status="exact",
    off={"tau": 0.0, "own": 0.0},
)
class LogitAdjustment(Method):
    """Adds the log class frequencies to the logits in the loss."""

    log_prior: Tensor

    class Config(Config):
        tau: float = Field(1.0, ge=0, description="tau: 1 in the paper; 0 none")
        own: float = Field(0.0, ge=0, description="weight of the modalities' own adjusted losses")

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        self.register_buffer("log_prior", torch.zeros(model.fusion.classes))

    def setup(self, run: Run) -> None:
        labels = run.train.store.labels[run.train.split_rows]
        self.log_prior.copy_(torch.from_numpy(log_frequencies(labels, self.model.fusion.classes)))

    def losses(self, output: Output, batch: Batch, phase: Phase, run: Run) -> dict[str, Tensor]:
        def shift(logits: Tensor) -> Tensor:
            return adjusted(logits, self.log_prior, self.config.tau)

        own = {m: shift(o) for m, o in output.logits.items()}
        shifted = replace(output, fused=shift(output.fused), logits=own)
        return super().losses(shifted, batch, phase, run) | own_losses(shifted, batch.labels, self.config.own)
