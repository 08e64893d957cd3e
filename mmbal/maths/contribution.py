"""What a modality contributes to a decision, by the information that they share, and the factors that even this out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmbal.maths.information import normalised_conditional_mutual_information, normalised_mutual_information


def shared_information(counts: Tensor, interaction: bool = False) -> tuple[Tensor, Tensor]:
    """NMI(o_m; o) and NCMI(o_m; o | o_rest) ``(M,)`` of histograms of o_m, o and o_rest ``(M, bins, bins, bins)``.

    With ``interaction`` the second is NMI - NCMI / 2, which is negative where modalities complement one another. This is
    the public code of arXiv 2501.01240: it divides I(o_m;o|o_rest) by H(o_m|o_rest) + H(o|o_rest), without the factor 2.
    """
    marginal = torch.tensor([normalised_mutual_information(c.sum(2)) for c in counts], dtype=torch.float64)
    joint = torch.tensor([normalised_conditional_mutual_information(c) for c in counts], dtype=torch.float64)
    return marginal, marginal - joint / 2 if interaction else joint


def fusion_factors(contribution: Mapping[str, float], alpha: float, limit: float) -> dict[str, float]:
    """``k_m = (mean of the others' c / c_m)^alpha`` within ``[1 / limit, limit]``: above one where m contributes less."""

    def factor(m: str) -> float:
        others = [c for n, c in contribution.items() if n != m]
        own, mean = max(contribution[m], 1e-9), max(sum(others) / len(others), 1e-9)
        return min(max((mean / own) ** alpha, 1 / limit), limit)

    return {m: factor(m) for m in contribution}


def rarity(contribution: Tensor, gamma: float) -> Tensor:
    """``1 + gamma (1 - c_i / max c)`` of contributions ``(N,)``: how often rows are drawn, relative to the best."""
    return 1 + gamma * (1 - contribution / contribution.max().clamp(min=1e-9))
