"""Gates by sample: the more confident a modality is of a sample, the more it counts there.

    log p(c) = M_n sum_m a_m(x) log p_m(c) + const,    a(x) = softmax_m(kappa r_m(x))     over the present modalities

``by`` selects the confidence r_m, computed from p_m = softmax(logits_m). It lies in [0, 1] (energy: in nats):

    confidence  max_c p_m(c)                              Hendrycks and Gimpel, ICLR 2017, arXiv 1610.02136
    entropy     1 - H(p_m) / log C
    margin      p_m(first) - p_m(second)                  Scheffer et al., IDA 2001
    energy      logsumexp_c logits_m(c)                   Liu et al., NeurIPS 2020, arXiv 2010.03759
    agreement   mean over the other modalities k of sum_c p_m(c) p_k(c)

kappa is fitted: the value of a grid, 0 (no gate) included, with the lowest NLL on the calibration rows. A gate favours
a confident head. Where the weak modality is the over-confident one, the gate makes the decision worse.
"""

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.decision.base import Rule, unimodal
from mmbal.predictions.format import Predictions
from mmbal.registry import rules

By = Literal["confidence", "entropy", "margin", "energy", "agreement"]
KINDS: tuple[By, ...] = ("confidence", "entropy", "margin", "energy", "agreement")
GRID = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def reliability(logits: Tensor, present: Tensor, by: By) -> Tensor:
    """The confidence ``(N, M)`` of each modality in each sample, from logits ``(N, M, C)``."""
    if by == "energy":
        return torch.logsumexp(logits, dim=-1)
    log_p = torch.log_softmax(logits, dim=-1)
    p = log_p.exp()
    if by == "confidence":
        return p.max(dim=-1).values
    if by == "entropy":
        return 1 + (p * log_p).sum(dim=-1) / np.log(max(p.shape[-1], 2))
    if by == "margin":
        top = p.topk(min(2, p.shape[-1]), dim=-1).values
        return top[..., 0] - top[..., -1]
    seen = p * present[..., None]
    others = present.sum(dim=1, keepdim=True) - present
    return (p * (seen.sum(dim=1, keepdim=True) - seen)).sum(dim=-1) / others.clamp_min(1)


def gated_sum(log_p: Tensor, present: Tensor, sureness: Tensor, kappa: float | Tensor) -> Tensor:
    """``M_n sum_m softmax_m(kappa r_m) log p_m`` over present modalities: ``(N, C)``."""
    floor = torch.finfo(sureness.dtype).min
    share = torch.softmax((kappa * sureness).masked_fill(present == 0, floor), dim=1) * present
    return present.sum(dim=1, keepdim=True) * (share[..., None] * log_p).sum(dim=1)


@rules.register(family="gate", fitted=True)
class Gate(Rule):
    """Weighs each modality, sample by sample, by how sure it is."""

    class Config(Config):
        by: By = Field("entropy", description="r: what tells how sure a modality is")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        logits = torch.from_numpy(np.stack([predictions.logits[m] for m in predictions.modalities], axis=1))
        present = torch.from_numpy(predictions.present_mask().astype(np.float64))
        sureness = reliability(logits, present, config.by)
        labels = torch.from_numpy(predictions.labels)
        losses = [
            float(
                torch.nn.functional.cross_entropy(
                    gated_sum(unimodal(logits, present), present, sureness, kappa), labels
                )
            )
            for kappa in GRID
        ]
        return {"kappa": np.array(GRID[int(np.argmin(losses))]), "by": np.array(float(KINDS.index(config.by)))}

    def combine(self, inputs: Tensor, present: Tensor) -> Tensor:
        sureness = reliability(inputs, present, KINDS[int(self.parameters["by"])])
        return gated_sum(unimodal(inputs, present), present, sureness, self.tensor("kappa", inputs))

    def explain(self) -> str:
        by, kappa = KINDS[int(self.parameters["by"])], float(self.parameters["kappa"])
        return f"Gate by {by}, sharpness {kappa:g}" + (": off, the plain sum." if kappa == 0 else ".")
