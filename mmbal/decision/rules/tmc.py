"""TMC: Dempster's rule on subjective opinions; a modality without evidence for a sample leaves it to the others.

    e_m = softplus(o_m),  alpha_m = e_m + 1,  S_m = sum_c alpha_m(c),  b_m = e_m / S_m,  u_m = C / S_m
    b = (b_1 b_2 + b_1 u_2 + b_2 u_1) / (1 - K),   u = u_1 u_2 / (1 - K),   K = sum_{i != j} b_1(i) b_2(j)
    p = b + u / C     (the mean of the Dirichlet with S = C / u, e = b S)

Reference: Han, Zhang, Fu and Zhou, "Trusted multi-view classification", ICLR 2021, arXiv 2102.02051.

Deviations: none; more modalities are combined one after the other (the rule is associative), a missing one has no
evidence, so that it changes nothing. 1 - K is computed as the sum of what is kept, which does not cancel.
"""

from mmbal.decision.base import Rule
from mmbal.maths.arrays import AnyArray, log, softplus
from mmbal.registry import rules


def opinion(evidence: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Belief ``(..., C)`` and uncertainty ``(..., 1)`` of evidence ``(..., C) >= 0``; together they sum to 1."""
    total = (evidence + 1).sum(axis=-1, keepdims=True)
    return evidence / total, evidence.shape[-1] / total


def dempster(first: tuple[AnyArray, AnyArray], second: tuple[AnyArray, AnyArray]) -> tuple[AnyArray, AnyArray]:
    """The reduced Dempster combination of two opinions."""
    (b1, u1), (b2, u2) = first, second
    belief = b1 * b2 + b1 * u2 + b2 * u1
    uncertainty = u1 * u2
    kept = belief.sum(axis=-1, keepdims=True) + uncertainty
    return belief / kept, uncertainty / kept


def combined(evidence: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Belief ``(N, C)`` and uncertainty ``(N, 1)`` of the opinions of all modalities, from evidence ``(N, M, C)``."""
    fused = opinion(evidence[:, 0])
    for k in range(1, evidence.shape[1]):
        fused = dempster(fused, opinion(evidence[:, k]))
    return fused


@rules.register(family="evidential", year=2021, paper="2102.02051", fitted=False)
class Tmc(Rule):
    """Dempster-Shafer combination of the modalities' evidence."""

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        belief, uncertainty = combined(softplus(inputs) * present[..., None])
        return log(belief + uncertainty / belief.shape[-1])

    def explain(self) -> str:
        return "Combines the modalities' evidence by Dempster's rule."
