"""Vector scaling of every modality, in one fit, shrunk to the log-opinion pool: class-wise weights and a bias.

    log p(c) = sum_m (w_m v_m(c) + d_mc u_m(c) + e_mc l_m) + b_c + const,    d_mc ~ N(0, (s / |u|)^2)

Reference: Guo et al., "On calibration of modern neural networks", ICML 2017, arXiv 1706.04599 (one modality, by maximum
likelihood). The class-wise rule adds the linear pool. Notation and priors: :mod:`mmbal.decision.linear`.
"""

from mmbal.decision.linear import LogLinear
from mmbal.registry import rules


@rules.register(family="linear", year=2017, paper="1706.04599", fitted=True)
class Vector(LogLinear):
    """A scale and a shift per modality and class."""

    blocks = frozenset({"bias", "classwise"})
