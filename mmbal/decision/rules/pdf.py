"""PDF's rule: weights by sample from a predicted confidence of each modality, and how uniform its prediction is.

    mono_m = t_m,    holo_m = sum_{k != m} log t_k / sum_k log t_k,    cb_m = mono_m + holo_m
    DU_m = mean_c |p_m(c) - 1 / C|,    rc_m = min(1, DU_m / mean_{k != m} DU_k)
    o = sum_m w_m o_m,    w = softmax_m(cb_m rc_m)

t_m predicts the probability that modality m gives the true class.
Reference: Cao et al., "Predictive dynamic fusion", ICML 2024, arXiv 2406.04802.

Deviations: the paper's ConfidNet predicts t_m from features, trained along with the model; for a rule that is fitted on
decisions, t_m is a ridge regression of p_m(y) on p_m over the calibration rows, cut to [0.01, 0.99]. M > 2: the sums
over the others above, and the mean of their DU (with two modalities the paper's formula); a missing modality is not
among the others.
"""

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor

from mmbal.decision.base import Rule
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


def relative_calibration(p: Tensor, present: Tensor) -> Tensor:
    """``rc (N, M)`` of probabilities ``(N, M, C)``: below 1 where a modality is flatter than the others."""
    uniformity = (p - 1 / p.shape[-1]).abs().mean(dim=-1) * present
    others = (present.sum(dim=1, keepdim=True) - present).clamp_min(1)
    reference = (uniformity.sum(dim=1, keepdim=True) - uniformity) / others
    ratio = uniformity / torch.where(reference > 0, reference, 1.0)
    return torch.where(reference > 0, ratio.clamp(max=1.0), 1.0)


def collaborative_belief(confidence: Tensor, present: Tensor) -> Tensor:
    """``cb (N, M)`` = mono + holo of predicted confidences ``(N, M)`` in (0, 1)."""
    logs = confidence.log() * present
    total = logs.sum(dim=1, keepdim=True)
    return confidence + (total - logs) / torch.where(total < 0, total, -1.0)


def belief_weights(strength: Tensor, present: Tensor) -> Tensor:
    """``w (N, M)``, the softmax of ``cb rc`` over the present modalities, held constant; 0 for a missing one."""
    floor = torch.finfo(strength.dtype).min
    return (torch.softmax(strength.masked_fill(present == 0, floor), dim=1) * present).detach()


@rules.register(family="gate", year=2024, paper="2406.04802", fitted=True, status="after")
class Pdf(Rule):
    """Sums the logits; each modality's weight follows from its predicted confidence on the sample."""

    @classmethod
    def estimate(cls, predictions: Predictions, config: object) -> dict[str, np.ndarray]:
        coefficients = []
        for k, m in enumerate(predictions.modalities):
            rows = predictions.present_mask()[:, k]
            p = np.exp(log_softmax(predictions.logits[m][rows], axis=-1))
            inputs = np.column_stack([p, np.ones(len(p))])
            outcome = p[np.arange(len(p)), predictions.labels[rows]]
            ridge = np.eye(inputs.shape[1])
            coefficients.append(np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ outcome))
        return {"confidence": np.stack(coefficients)}

    def combine(self, inputs: Tensor, present: Tensor) -> Tensor:
        p = torch.softmax(inputs, dim=-1)
        coefficients = self.tensor("confidence", inputs)
        confidence = ((p * coefficients[:, :-1]).sum(dim=-1) + coefficients[:, -1]).clamp(0.01, 0.99)
        strength = collaborative_belief(confidence, present) * relative_calibration(p, present)
        return (belief_weights(strength, present)[..., None] * inputs).sum(dim=1)

    def explain(self) -> str:
        return "Weighs each sample's logits by the predicted confidence of each modality."
