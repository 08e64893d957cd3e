"""ECML: the average of the modalities' evidence, so that conflict lowers belief instead of being normalised away.

    e = (1 / M_n) sum_m e_m,  e_m = softplus(o_m),    p = (e + 1) / sum_c (e + 1)

Reference: Xu, Si, Guan, Zhao, Wu and Gao, "Reliable conflictive multi-view learning", AAAI 2024, arXiv 2402.16897.

Deviations: the public code averages recursively, ((e_1 + e_2) / 2 + e_3) / 2, which favours the last view of more than
two; we average uniformly, as in the paper. Evidence by softplus as in TMC, over the present modalities.
"""

from mmbal.decision.base import Rule
from mmbal.maths.arrays import AnyArray, at_least, log, softplus
from mmbal.registry import rules


def average_evidence(evidence: AnyArray, present: AnyArray) -> AnyArray:
    """Mean ``(N, C)`` of evidence ``(N, M, C)`` over the present modalities."""
    count = at_least(present.sum(axis=1, keepdims=True), 1)
    return (evidence * present[..., None]).sum(axis=1) / count


@rules.register(family="evidential", year=2024, paper="2402.16897", fitted=False)
class Ecml(Rule):
    """Average belief fusion."""

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        return log(average_evidence(softplus(inputs), present) + 1)

    def explain(self) -> str:
        return "Averages the modalities' evidence."
