"""QMF's rule: each modality is weighted by the energy of its logits; QMF's training ties that energy to accuracy.

    o = sum_m c_m o_m,    c_m = logsumexp_k o_m[k] / 10,    c_m held constant in the gradient

Reference: Zhang et al., "Provable dynamic fusion for low-quality multimodal data", ICML 2023, arXiv 2306.02050.

Deviations: none at test time. The confidence is that of a model trained with QMF's ranking loss; on other heads the
rule favours whatever has large logits. Confidences may be negative, as in the paper. Any number of modalities.
"""

from mmbal.decision.base import SampleWeights
from mmbal.maths.arrays import AnyArray, constant, logsumexp
from mmbal.registry import rules


def energy_confidence(logits: AnyArray) -> AnyArray:
    """``logsumexp(logits) / 10`` over the last axis."""
    return logsumexp(logits) / 10


@rules.register(family="gate", year=2023, paper="2306.02050", fitted=False)
class Qmf(SampleWeights):
    """Sums the logits; each modality's weight follows from its energy on the sample."""

    def weights(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        return energy_confidence(constant(inputs)) * present

    def explain(self) -> str:
        return "Weighs each sample's logits by their log-sum-exp."
