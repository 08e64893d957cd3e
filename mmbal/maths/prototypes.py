"""Class prototypes: the mean feature of each class, over a batch and running over batches, and how to decide by them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot


def class_means(
    features: Tensor,
    labels: Tensor,
    rows: Tensor,
    classes: int,
    total: Callable[[Tensor], Tensor] = lambda value: value,
) -> tuple[Tensor, Tensor]:
    """Means ``(C, D)`` of ``features (B, D)`` over those ``rows (B,)`` of each class, and how many they are ``(C,)``.

    A class without rows has mean zero and count zero. ``total`` sums over processes (``run.sum``).
    """
    member = one_hot(labels, classes).to(features.dtype) * rows[:, None]
    found = total(torch.cat([member.T @ features.detach(), member.sum(dim=0)[:, None]], dim=1))
    sums, counts = found[:, :-1], found[:, -1]
    return sums / counts.clamp(min=1)[:, None], counts


def blend(old: Tensor, seen: Tensor, fresh: Tensor, counts: Tensor, momentum: float) -> Tensor:
    """Running means ``(C, D)``: ``momentum * old + (1 - momentum) * fresh`` for the classes that have rows.

    A class not ``seen (C,)`` before starts at its fresh mean; one without rows keeps what it had.
    """
    keep = torch.where(seen, momentum, 0.0)
    keep = torch.where(counts > 0, keep, torch.ones_like(keep))[:, None]
    return keep * old + (1 - keep) * fresh


def prototype_cross_entropy(
    features: Tensor, prototypes: Tensor, seen: Tensor, labels: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy ``(B,)`` of finding the class of ``features (B, D)`` among ``prototypes (C, D)`` by cosine.

    Cosines are divided by ``temperature``. Only classes ``seen (C,)`` take part; a row of another class counts zero.
    """
    cosines = normalize(features, dim=-1) @ normalize(prototypes, dim=-1).T / temperature
    losses = cross_entropy(cosines.masked_fill(~seen, -1e4), labels, reduction="none")
    return torch.where(seen[labels], losses, torch.zeros_like(losses))


def class_distances(features: Tensor, prototypes: Tensor, seen: Tensor, spread: Tensor) -> Tensor:
    """Squared distances ``(B, C)`` from the prototypes, each feature's divided by ``spread (D,)``; infinite if not ``seen``.

    With the variance within classes as spread the nearest prototype is the diagonal Fisher rule's decision, and sums of
    distances over modalities decide by all of them.
    """
    scale = spread.clamp(min=1e-8).rsqrt()
    return (torch.cdist(features * scale, prototypes * scale) ** 2).masked_fill(~seen, torch.inf)


def fisher_ratio(prototypes: Tensor, seen: Tensor, spread: Tensor) -> Tensor:
    """How well each feature ``(D,)`` alone tells the ``seen`` classes apart: variance between over variance within."""
    between = prototypes[seen].var(dim=0, unbiased=False) if bool(seen.any()) else torch.zeros_like(spread)
    return between / spread.clamp(min=1e-8)


def repaired(alone: float | None, fused: float | None) -> float:
    """Share of the errors made ``alone`` (an accuracy) that are not made ``fused``; 0 if these are more, or not known."""
    if alone is None or fused is None or alone == 1:
        return 0.0
    return max(0.0, (fused - alone) / (1 - alone))
