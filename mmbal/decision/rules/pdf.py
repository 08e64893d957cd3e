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

from mmbal.decision.base import SampleWeights
from mmbal.maths.arrays import AnyArray, at_least, clip, constant, log, log_softmax, lowest_number, softmax, where
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


def relative_calibration(p: AnyArray, present: AnyArray) -> AnyArray:
    """``rc (N, M)`` of probabilities ``(N, M, C)``: below 1 where a modality is flatter than the others."""
    uniformity = abs(p - 1 / p.shape[-1]).mean(axis=-1) * present
    others = at_least(present.sum(axis=1, keepdims=True) - 1 * present, 1)
    reference = (uniformity.sum(axis=1, keepdims=True) - uniformity) / others
    ratio = uniformity / where(reference > 0, reference, 1.0)
    return where(reference > 0, clip(ratio, 0.0, 1.0), 1.0)


def collaborative_belief(confidence: AnyArray, present: AnyArray) -> AnyArray:
    """``cb (N, M)`` = mono + holo of predicted confidences ``(N, M)`` in (0, 1)."""
    logs = log(confidence) * present
    total = logs.sum(axis=1, keepdims=True)
    return confidence + (total - logs) / where(total < 0, total, -1.0)


def belief_weights(strength: AnyArray, present: AnyArray) -> AnyArray:
    """``w (N, M)``, the softmax of ``cb rc`` over the present modalities, held constant; 0 for a missing one."""
    return constant(softmax(where(present == 0, lowest_number(strength), strength), axis=1) * present)


@rules.register(family="gate", year=2024, paper="2406.04802", fitted=True, status="after")
class Pdf(SampleWeights):
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

    def weights(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        p = softmax(inputs)
        coefficients = self.tensor("confidence", inputs)
        confidence = clip((p * coefficients[:, :-1]).sum(axis=-1) + coefficients[:, -1], 0.01, 0.99)
        strength = collaborative_belief(confidence, present) * relative_calibration(p, present)
        return belief_weights(strength, present)

    def explain(self) -> str:
        return "Weighs each sample's logits by the predicted confidence of each modality."
