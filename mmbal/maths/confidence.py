"""How sure each modality is of the truth: the score by which most balancing methods say who is ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def true_class_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """``softmax(o)[y] (B,)`` of logits ``(B, C)``, as a constant."""
    return logits.detach().float().softmax(-1).gather(1, labels[:, None])[:, 0]


def true_class_confidence(
    logits: Mapping[str, Tensor],
    labels: Tensor,
    present: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = lambda value: value,
) -> dict[str, float]:
    """``s_m``: mean probability of the true class by modality m alone, over the rows that have m.

    ``logits[m] (B, C)``, ``labels (B,)``, ``present[m] (B,)`` bool; ``total`` sums over processes (``run.sum``). A
    modality that no row has is left out. The mean, not the sum of the papers, so that a modality is not behind for
    being rare; where every row has every modality, ratios of scores are the same.
    """
    names = sorted(logits)
    sums = [(true_class_probability(logits[m], labels) * present[m]).sum() for m in names]
    counts = [present[m].sum() for m in names]
    found = total(torch.stack([torch.stack(sums), torch.stack(counts)], dim=1)).tolist()
    return {m: score / rows for m, (score, rows) in zip(names, found, strict=True) if rows}
