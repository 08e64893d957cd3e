"""Each modality's confidence in the true class: the score by which most balancing methods find the modality ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


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
    return means({m: true_class_probability(o, labels) for m, o in logits.items()}, present, total)


def mean_cross_entropy(
    logits: Mapping[str, Tensor],
    labels: Tensor,
    present: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = lambda value: value,
) -> dict[str, float]:
    """Mean cross-entropy (nats) of each modality's own decision, over the rows that have it; see true_class_confidence."""
    each = {m: cross_entropy(o.detach().float(), labels, reduction="none") for m, o in logits.items()}
    return means(each, present, total)


def accuracy(
    logits: Mapping[str, Tensor],
    labels: Tensor,
    present: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = lambda value: value,
) -> dict[str, float]:
    """Accuracy of each modality's own decision, over the rows that have it; see true_class_confidence."""
    return means({m: (o.argmax(dim=-1) == labels).float() for m, o in logits.items()}, present, total)


def means(
    values: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    total: Callable[[Tensor], Tensor] = lambda value: value,
) -> dict[str, float]:
    """Mean of ``values[m] (B,)`` over the rows where m is ``present``, over all processes; without those that no row has."""
    names = sorted(values)
    sums = [torch.stack([(values[m] * present[m]).sum(), present[m].sum()]) for m in names]
    found = total(torch.stack(sums)).tolist()
    return {m: score / rows for m, (score, rows) in zip(names, found, strict=True) if rows}
