"""What each modality contributes to a model's decisions, by running averages over the batches that it has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmbal.maths.confidence import true_class_probability
from mmbal.maths.contribution import shared_information
from mmbal.maths.information import joint_histogram
from mmbal.models.fusion import Output, total


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
