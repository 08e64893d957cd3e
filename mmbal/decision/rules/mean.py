"""Mean of probabilities, the linear opinion pool (Stone, "The opinion pool", Ann. Math. Stat. 1961).

p(c) = (1 / M_n) sum_{m present} p_m(c)
"""

from math import inf

from mmbal.decision.base import Rule
from mmbal.maths.arrays import AnyArray, log_softmax, logsumexp, where
from mmbal.registry import rules


def mean_log_probabilities(log_p: AnyArray, present: AnyArray) -> AnyArray:
    """Log of the mean over present modalities of ``exp(log_p) (N, M, C)``, computed in the log domain: ``(N, C)``."""
    kept = where(present[..., None] == 0, -inf, log_p)
    some = present.sum(axis=1, keepdims=True) > 0
    return logsumexp(where(some[..., None], kept, 0.0), axis=1)


@rules.register(family="fixed", year=1961, paper="Stone 1961", fitted=False)
class Mean(Rule):
    """The mean of the modalities' probabilities."""

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        return mean_log_probabilities(log_softmax(inputs), present)

    def explain(self) -> str:
        return "Averages the modalities' probabilities."
