"""MSLR: each modality's encoder has a learning rate of its own, which can follow its validation accuracy.

Yao and Mihalcea, "Modality-specific Learning Rates for Effective Multimodal Additive Late-fusion", Findings of ACL 2022,
doi 10.18653/v1/2022.findings-acl.143.

    keep:      lr_m = lr rate_m
    dynamic:   lr_m = lr rate_m A_m(t) / mean(A_m(t-1), ..., A_m(t-K))     A_m(t): validation accuracy of m alone

A modality whose accuracy grows learns faster, and one whose accuracy falls learns slower.

Deviations: the paper takes rate_m from the best unimodal models. They are not known here, so rates are 1 unless they are
given (public codes: 0.9 audio and 1.1 video, or 0.7 and 1.3, on CREMA-D). The paper's third strategy, `smooth`, is in no
public code that we know and is left out. The public code multiplies gradients, which has next to no effect under Adam;
here the learning rate itself is scaled, for any optimiser. A linear head shared by the modalities keeps the global rate.
The ratio is 1 until K epochs are known. A_m(t) is taken before epoch t, on the validation split; the public code takes
the test split.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.errors import ConfigError, did_you_mean
from mmbal.maths.confidence import accuracy
from mmbal.methods.base import Method, Run
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.models.outputs import joined
from mmbal.registry import methods


def dynamic_rates(now: Tensor, before: Tensor) -> Tensor:
    """Factors ``(M,)`` on the learning rates: accuracies ``now (M,)`` over the means of those ``before (K, M)``.

    The factor is 1 where one of the accuracies is not known (NaN), or where all before were 0.
    """
    mean = before.mean(dim=0)
    return torch.where((mean > 0) & ~now.isnan(), now / mean, torch.ones_like(now))


@methods.register(
    family="learning rates",
    year=2022,
    paper="10.18653/v1/2022.findings-acl.143",
    status="with stated deviations",
    off={"dynamic": False},
)
class MSLR(Method):
    """Scales the learning rate of each encoder."""

    at_least = 2

    class Config(Config):
        rates: dict[str, float] = Field(
            {}, description="rate_m: factor on the learning rate by modality; 1 if not given"
        )
        dynamic: bool = Field(True, description="follow the validation accuracy (dynamic), or not (keep)")
        memory: int = Field(5, ge=1, description="K: epochs that an accuracy is compared with (public codes: 5 or 20)")

    accuracies: Tensor  # (K, M), oldest first, modalities by name; NaN where not known

    def __init__(self, model: MultimodalClassifier, config: Config | None = None) -> None:
        super().__init__(model, config)
        for m, rate in self.config.rates.items():
            if m not in model.modalities:
                raise ConfigError(f"mslr.rates: there is no modality '{m}'.", did_you_mean(m, model.modalities))
            if not rate >= 0:
                raise ConfigError(f"mslr.rates: the rate of '{m}' is {rate}.", "Use a number that is not negative.")
        self.names = sorted(model.modalities)
        self.register_buffer("accuracies", torch.full((self.config.memory, len(self.names)), torch.nan))

    def on_epoch_start(self, run: Run) -> None:
        factors = torch.ones(len(self.names))
        if self.config.dynamic and run.epoch > 0:
            output, labels = joined(run.evaluate(run.validation))
            found = accuracy(output.logits, labels, output.present)
            now = torch.tensor([found.get(m, torch.nan) for m in self.names], device=self.accuracies.device)
            factors = dynamic_rates(now, self.accuracies)
            self.accuracies.copy_(torch.cat([self.accuracies[1:], now[None]]))
        for m, factor in zip(self.names, factors.tolist(), strict=True):
            rate = self.config.rates.get(m, 1.0) * factor
            run.log(f"learning_rate_factor/{m}", rate)
            run.scale_learning_rate(f"encoders.{m}", rate)
