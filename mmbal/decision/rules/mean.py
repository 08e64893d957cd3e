"""Mean of probabilities, the linear opinion pool (Stone, "The opinion pool", Ann. Math. Stat. 1961).

p(c) = (1 / M_n) sum_{m present} p_m(c)
"""

import torch
from torch import Tensor

from mmbal.decision.base import Rule
from mmbal.registry import rules


def mean_log_probabilities(log_p: Tensor, present: Tensor) -> Tensor:
    """Log of the mean over present modalities of ``exp(log_p) (N, M, C)``, computed in the log domain: ``(N, C)``."""
    kept = log_p.masked_fill(present[..., None] == 0, -torch.inf)
    some = present.any(dim=1, keepdim=True)
    return torch.logsumexp(torch.where(some[..., None], kept, 0.0), dim=1)


@rules.register(family="fixed", year=1961, paper="Stone 1961", fitted=False)
class Mean(Rule):
    """The mean of the modalities' probabilities."""

    def combine(self, inputs: Tensor, present: Tensor) -> Tensor:
        return mean_log_probabilities(torch.log_softmax(inputs, dim=-1), present)

    def explain(self) -> str:
        return "Averages the modalities' probabilities."
