"""Log-opinion pool, linear pool and a bias per class, shrunk to no bias.

    log p(c) = sum_m w_m v_m(c) + w_0 log mean_m p_m(c) + b_c + const,    b_c ~ N(0, 0.5^2)

The bias corrects class frequencies that differ between the heads' training data and the calibration data, and classes
that every modality prefers. Notation and priors: :mod:`mmbal.decision.linear`. Reference: bias-corrected temperature
scaling, Alexandari, Kundaje and Shrikumar, "Maximum likelihood with bias-corrected calibration is hard-to-beat at label
shift adaptation", ICML 2020, arXiv 1901.06852 (one modality; here M, and the bias is shrunk).
"""

from mmbal.decision.linear import LogLinear
from mmbal.registry import rules


@rules.register(family="linear", year=2020, paper="1901.06852", fitted=True)
class Bias(LogLinear):
    """One weight per modality, one for their linear pool, and a bias per class."""

    blocks = frozenset({"mixture", "bias"})
