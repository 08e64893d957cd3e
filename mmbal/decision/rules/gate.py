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
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.base import SampleWeights, unimodal
from mmbal.maths.arrays import (
    AnyArray,
    at_least,
    exp,
    highest,
    log_softmax,
    logsumexp,
    lowest_number,
    ordered,
    softmax,
    where,
)
from mmbal.predictions.format import Predictions
from mmbal.registry import rules

By = Literal["confidence", "entropy", "margin", "energy", "agreement"]
KINDS: tuple[By, ...] = ("confidence", "entropy", "margin", "energy", "agreement")
GRID = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def reliability(logits: AnyArray, present: AnyArray, by: By) -> AnyArray:
    """The confidence ``(N, M)`` of each modality in each sample, from logits ``(N, M, C)``."""
    if by == "energy":
        return logsumexp(logits)
    log_p = log_softmax(logits)
    p = exp(log_p)
    if by == "confidence":
        return highest(p, axis=-1)
    if by == "entropy":
        return 1 + (p * log_p).sum(axis=-1) / np.log(max(p.shape[-1], 2))
    if by == "margin":
        rising = ordered(p)
        return rising[..., -1] - rising[..., -min(2, p.shape[-1])]
    seen = p * present[..., None]
    others = present.sum(axis=1, keepdims=True) - present
    return (p * (seen.sum(axis=1, keepdims=True) - seen)).sum(axis=-1) / at_least(others, 1)


def gate_weights(present: AnyArray, sureness: AnyArray, kappa: AnyArray) -> AnyArray:
    """``M_n softmax_m(kappa r_m)`` over present modalities: ``(N, M)``."""
    share = softmax(where(present == 0, lowest_number(sureness), kappa * sureness), axis=1) * present
    return present.sum(axis=1, keepdims=True) * share


def gated_sum(log_p: AnyArray, present: AnyArray, sureness: AnyArray, kappa: AnyArray) -> AnyArray:
    """``M_n sum_m softmax_m(kappa r_m) log p_m`` over present modalities: ``(N, C)``."""
    return (gate_weights(present, sureness, kappa)[..., None] * log_p).sum(axis=1)


@rules.register(family="gate", fitted=True)
class Gate(SampleWeights):
    """Weighs each modality, sample by sample, by how sure it is."""

    class Config(Config):
        by: By = Field("entropy", description="r: what tells how sure a modality is")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        logits = np.stack([predictions.logits[m] for m in predictions.modalities], axis=1)
        present = predictions.present_mask().astype(np.float64)
        sureness, log_p, rows = (
            reliability(logits, present, config.by),
            unimodal(logits, present),
            np.arange(len(logits)),
        )
        fused = [log_softmax(gated_sum(log_p, present, sureness, kappa)) for kappa in GRID]
        losses = [-float(each[rows, predictions.labels].mean()) for each in fused]
        return {"kappa": np.array(GRID[int(np.argmin(losses))]), "by": np.array(float(KINDS.index(config.by)))}

    def weights(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        sureness = reliability(inputs, present, KINDS[int(self.parameters["by"])])
        return gate_weights(present, sureness, self.tensor("kappa", inputs))

    def explain(self) -> str:
        by, kappa = KINDS[int(self.parameters["by"])], float(self.parameters["kappa"])
        return f"Gate by {by}, sharpness {kappa:g}" + (": off, the plain sum." if kappa == 0 else ".")
