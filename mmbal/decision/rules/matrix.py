"""A matrix per modality, shrunk to the class-wise pool; it also uses which classes a modality confuses.

    log p = sum_m (w_m v_m + d_m * u_m + e_m l_m + F_m u_m + G_m (p_m - 1 / C)) + w_0 log mean_m p_m + b + const

F acts on log-probabilities (Dirichlet calibration), G on probabilities, which stay bounded where a head is sure of
itself and wrong. Reference: Kull, Perello-Nieto, Kaengsepp, Silva Filho, Song and Flach, "Beyond temperature scaling:
obtaining well-calibrated multiclass probabilities with Dirichlet calibration", NeurIPS 2019, arXiv 1910.12656 (one
modality, off-diagonal and intercept regularisation).

Deviations: M modalities in one fit; the whole matrix is shrunk, towards the pool. Notation and priors:
:mod:`mmbal.decision.linear`.
"""

from mmbal.decision.linear import LogLinear
from mmbal.registry import rules


@rules.register(family="linear", year=2019, paper="1910.12656", fitted=True)
class Matrix(LogLinear):
    """Uses each modality's log-probabilities of all classes for the score of each class."""

    blocks = frozenset({"mixture", "bias", "classwise", "matrix"})
