"""Plain sum of log-probabilities: what a model with a concatenated or summed linear head does with its modalities.

    log p(c) = sum_m log p_m(c) + const

The product of experts without weights (Hinton, "Training products of experts by minimizing contrastive divergence",
Neural Computation 2002); Bayes' rule where modalities are independent given the class, each is calibrated and classes
are equally frequent. An over-confident modality gets too large a contribution.
"""

from mmbal.decision.base import Rule, unimodal
from mmbal.maths.arrays import AnyArray
from mmbal.registry import rules


@rules.register(family="fixed", year=2002, paper="Hinton 2002", fitted=False)
class Sum(Rule):
    """The plain sum of the modalities' log-probabilities."""

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        return unimodal(inputs, present).sum(axis=1)

    def explain(self) -> str:
        return "Sums the modalities' log-probabilities as they are."
