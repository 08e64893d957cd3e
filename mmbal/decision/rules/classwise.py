"""A weight per modality and class, shrunk to the weight per modality: the category-level decision layer.

    log p(c) = sum_m (w_m v_m(c) + d_mc u_m(c) + e_mc l_m) + w_0 log mean_m p_m(c) + b_c + const,    d_mc ~ N(0, (s / |u|)^2)

With one modality and without shrinkage this is vector scaling. References: Guo et al., ICML 2017, arXiv 1706.04599
(vector scaling); Ma and Chen, "Revisit modality imbalance at the decision layer", 2025, arXiv 2510.14411 (that weights
should follow the modalities' capabilities class by class). Notation and priors: :mod:`mmbal.decision.linear`.
"""

from mmbal.decision.linear import LogLinear
from mmbal.registry import rules


@rules.register(family="linear", year=2017, paper="1706.04599", fitted=True)
class Classwise(LogLinear):
    """Weighs each modality higher for the classes that it recognises well."""

    blocks = frozenset({"mixture", "bias", "classwise"})
