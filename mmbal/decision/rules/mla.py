"""MLA's test rule: the surer modality, by the entropy of its prediction of this sample, counts more.

    o = sum_m w_m o_m,    w_m = exp(H_max - H_m) / sum_k exp(H_max - H_k),    H_m = entropy of softmax(o_m),
    H_max = max_k H_k

Reference: Zhang et al., "Multimodal representation learning by alternating unimodal adaptation", CVPR 2024,
arXiv 2311.10707.

Deviations: the paper weighs every sample; the public code takes the softmax over the batch and so gives the whole batch
one weight. We follow the paper. H_max cancels: the weights are softmax_m(-H_m), over the present modalities.
"""

from mmbal.decision.base import SampleWeights
from mmbal.maths.arrays import AnyArray, exp, log_softmax, lowest_number, softmax, where
from mmbal.registry import rules


def entropy_weights(logits: AnyArray, present: AnyArray) -> AnyArray:
    """``w (N, M)``, rows summing to 1 over the present modalities, of logits ``(N, M, C)``."""
    log_p = log_softmax(logits)
    negative_entropy = (exp(log_p) * log_p).sum(axis=-1)
    return softmax(where(present == 0, lowest_number(logits), negative_entropy), axis=1) * present


@rules.register(family="gate", year=2024, paper="2311.10707", fitted=False)
class Mla(SampleWeights):
    """Sums the logits; each modality's weight follows from its entropy on the sample."""

    def weights(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        return entropy_weights(inputs, present)

    def explain(self) -> str:
        return "Weighs each sample's logits by exp(-entropy)."
