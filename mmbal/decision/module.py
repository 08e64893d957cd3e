"""A fitted rule as a torch module: it decides where the model runs, and can be traced, exported and trained through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmbal.errors import ConfigError
from mmbal.text import some

if TYPE_CHECKING:
    from mmbal.decision.base import Rule


class RuleModule(nn.Module):
    """Logits ``(N, C)`` of each modality, in the order of ``modalities`` -> fused log-probabilities ``(N, C)``.

    Where the rule takes the model's own decision, ``modalities`` ends with ``fused``. Where it takes features
    (``rule.source``), those ``(N, D_m)`` stand in place of the logits. A modality is missing in a row where all its
    values are NaN, as in a predictions file; so one module serves every set of modalities. A row without any modality
    gives NaN. The parameters are constants, which follow the type and the device of the inputs; there is nothing to train.

    Raises ConfigError where the number or the width of the inputs is not that of the fit.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.modalities, self.classes = rule.modalities, rule.classes

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != len(self.modalities):
            raise ConfigError(
                f"The rule takes {len(self.modalities)} inputs ({some(self.modalities)}), not {len(inputs)}.",
                "Give them in this order; a row of NaN stands for a missing modality.",
            )
        named = dict(zip(self.modalities, inputs, strict=True))
        values = [self.rule.input(named, m, tensor=True) for m in self.modalities]
        present = torch.stack([~x.isnan().all(dim=1) for x in values], dim=1)
        known = [x.where(present[:, k, None], 0.0) for k, x in enumerate(values)]
        log_p: Tensor = self.rule.decide(known, present.to(known[0].dtype))
        return log_p.where(present.any(dim=1, keepdim=True), torch.nan)

    def extra_repr(self) -> str:
        return f"{type(self.rule).__name__}: {', '.join(self.modalities)} -> {len(self.classes)} classes"
