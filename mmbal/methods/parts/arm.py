"""ARM: what a modality contributes to a decision, by the information that they share, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmbal.maths.confidence import true_class_probability
from mmbal.maths.information import (
    joint_histogram,
    normalised_conditional_mutual_information,
    normalised_mutual_information,
)
from mmbal.models.fusion import Output, total


def shared_information(counts: Tensor, interaction: bool = False) -> tuple[Tensor, Tensor]:
    """NMI(o_m; o) and NCMI(o_m; o | o_rest) ``(M,)`` of histograms of o_m, o and o_rest ``(M, bins, bins, bins)``.

    With ``interaction`` the second is NMI - NCMI / 2, which is negative where modalities complement one another. This is
    the public code of arXiv 2501.01240: it divides I(o_m;o|o_rest) by H(o_m|o_rest) + H(o|o_rest), without the factor 2.
    """
    marginal = torch.tensor([normalised_mutual_information(c.sum(2)) for c in counts], dtype=torch.float64)
    joint = torch.tensor([normalised_conditional_mutual_information(c) for c in counts], dtype=torch.float64)
    return marginal, marginal - joint / 2 if interaction else joint


def fusion_factors(contribution: Mapping[str, float], alpha: float, limit: float) -> dict[str, float]:
    """``k_m = (mean of the others' c / c_m)^alpha`` within ``[1 / limit, limit]``: above one for less than the others."""

    def factor(m: str) -> float:
        others = [c for n, c in contribution.items() if n != m]
        own, mean = max(contribution[m], 1e-9), max(sum(others) / len(others), 1e-9)
        return min(max((mean / own) ** alpha, 1 / limit), limit)

    return {m: factor(m) for m in contribution}


def rarity(contribution: Tensor, gamma: float) -> Tensor:
    """``1 + gamma (1 - c_i / max c)`` of contributions ``(N,)``: how often rows are drawn, relative to the best."""
    return 1 + gamma * (1 - contribution / contribution.max().clamp(min=1e-9))


def systematic_draw(weights: Tensor, start: float) -> Tensor:
    """N positions in proportion to ``weights (N,)``, each within one of its expected count.

    ``start``, in [0, 1), is the only chance in it; with equal weights every position is drawn once. Systematic
    resampling, Kitagawa 1996, in the form of Douc, Cappe and Moulines, ISPA 2005.
    """
    ends = weights.double().cumsum(0) / weights.double().sum()
    points = (torch.arange(len(weights), dtype=torch.float64, device=weights.device) + start) / len(weights)
    return torch.searchsorted(ends, points, right=True).clamp(max=len(weights) - 1)


class RunningContribution(nn.Module):
    """``c_m = p NMI(o_m; o) + p_m NCMI(o_m; o | o_rest)`` of modalities ``names``, in this order.

    o_rest is the sum of the others' logits; p and p_m are the mean probabilities of the true class, fused and by m alone.
    The logits' histograms and the probabilities are averaged over batches with ``momentum``. Source: mmbal/methods/arm.py.
    """

    counts: Tensor  # (M, bins, bins, bins): o_m, o and o_rest
    confidence: Tensor  # p and p_m (1 + M,)

    def __init__(self, names: Sequence[str], bins: int, momentum: float, interaction: bool) -> None:
        super().__init__()
        self.names, self.bins, self.momentum, self.interaction = list(names), bins, momentum, interaction
        self.register_buffer("counts", torch.zeros(len(self.names), bins, bins, bins, dtype=torch.float64))
        self.register_buffer("confidence", torch.zeros(1 + len(self.names)))

    @torch.no_grad()
    def update(
        self, output: Output, labels: Tensor, sum_up: Callable[[Tensor], Tensor]
    ) -> tuple[dict[str, float], Tensor]:
        """``c_m`` once a batch is counted, and ``c_i (B,)``: their mean with each sample's own probabilities.

        ``sum_up`` sums over processes.
        """
        there = torch.stack([torch.ones_like(labels, dtype=torch.bool), *(output.present[m] for m in self.names)])
        voices = (output.fused, *(output.logits[m] for m in self.names))
        true = torch.stack([true_class_probability(o, labels) for o in voices]) * there
        sums, rows = sum_up(torch.stack([true.sum(dim=1), there.sum(dim=1)]))
        keep = self.momentum if self.counts.any() else 0.0
        averaged = self.confidence.lerp(sums / rows.clamp(min=1), 1 - keep)
        self.confidence.copy_(torch.where(rows > 0, averaged, self.confidence))
        for m, counts in zip(self.names, self.counts, strict=True):
            rest = total({n: o for n, o in output.logits.items() if n != m})
            variables = [x[output.present[m]] for x in (output.logits[m], output.fused, rest)]
            counts.lerp_(joint_histogram(variables, self.bins, sum_up), 1 - keep)
        marginal, joint = shared_information(self.counts.cpu(), self.interaction)
        p, own = self.confidence.cpu().double().tensor_split([1])
        contribution = dict(zip(self.names, (p * marginal + own * joint).tolist(), strict=True))
        marginal, joint = (x.to(true)[:, None] for x in (marginal, joint))
        return contribution, (true[0] * marginal + true[1:] * joint).mean(dim=0)
