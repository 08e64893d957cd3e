"""Entropy, mutual and conditional mutual information of binned values, in nats, as they are defined.

Cover and Thomas, "Elements of Information Theory", 2nd edition, 2006, chapter 2, with the normalisation of Witten and
Frank's symmetric uncertainty, which is 0 for independent and 1 for equivalent variables::

    H(X) = -sum_x p(x) log p(x),                   H(X|Z) = H(X,Z) - H(Z)
    I(X;Y) = H(X) + H(Y) - H(X,Y),                 NMI  = 2 I(X;Y) / (H(X) + H(Y))
    I(X;Y|Z) = H(X|Z) + H(Y|Z) - H(X,Y|Z),         NCMI = 2 I(X;Y|Z) / (H(X|Z) + H(Y|Z))

The estimates are plug-in estimates: with few samples for many cells they are too high.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def binned(values: Tensor, bins: int, low: float, high: float) -> Tensor:
    """The bin ``0 .. bins - 1`` of each value, of equal width on [low, high]; values beyond go to the outer bins."""
    return ((values - low) * (bins / (high - low))).floor().clamp(0, bins - 1).long()


def histogram(codes: Sequence[Tensor], bins: int) -> Tensor:
    """How often each combination of K variables' bins ``(N,)`` occurs: ``(bins,) * K``."""
    cell = torch.zeros_like(codes[0])
    for code in codes:
        cell = cell * bins + code
    return torch.bincount(cell, minlength=bins ** len(codes)).reshape((bins,) * len(codes)).double()


def entropy(counts: Tensor) -> float:
    """Of the joint distribution that a histogram of any shape describes; 0 for an empty one."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * share.log()).sum())


def mutual_information(counts: Tensor) -> float:
    """I(X;Y) of a histogram ``(x, y)``."""
    return entropy(counts.sum(1)) + entropy(counts.sum(0)) - entropy(counts)


def conditional_entropy(counts: Tensor) -> float:
    """H(X|Z) of a histogram ``(x, z)``, or H(X,Y|Z) of ``(x, y, z)``."""
    return entropy(counts) - entropy(counts.flatten(0, -2).sum(0))


def conditional_mutual_information(counts: Tensor) -> float:
    """I(X;Y|Z) of a histogram ``(x, y, z)``."""
    return conditional_entropy(counts.sum(1)) + conditional_entropy(counts.sum(0)) - conditional_entropy(counts)


def normalised_mutual_information(counts: Tensor) -> float:
    """NMI in [0, 1] of a histogram ``(x, y)``; 0 where both are constant."""
    spread = entropy(counts.sum(1)) + entropy(counts.sum(0))
    return 2 * mutual_information(counts) / spread if spread > 0 else 0.0


def normalised_conditional_mutual_information(counts: Tensor) -> float:
    """NCMI in [0, 1] of a histogram ``(x, y, z)``; 0 where z determines both."""
    spread = conditional_entropy(counts.sum(1)) + conditional_entropy(counts.sum(0))
    return 2 * conditional_mutual_information(counts) / spread if spread > 0 else 0.0


def standardised(values: Tensor, total: Callable[[Tensor], Tensor] = lambda value: value) -> Tensor:
    """Values ``(N, C)`` less their columns' means, over the spread of them all; ``total`` sums over processes."""
    rows = total(torch.tensor(float(len(values)), device=values.device)).clamp(min=1)
    centred = values - total(values.sum(0)) / rows
    return centred / (total(centred.square().sum()) / (rows * values.shape[1])).sqrt().clamp(min=1e-12)


def joint_histogram(variables: Sequence[Tensor], bins: int, total: Callable[[Tensor], Tensor]) -> Tensor:
    """All entries of K variables ``(N, C)``, binned within 2.5 spreads of their columns' means, over all processes."""
    codes = [binned(standardised(x, total).flatten(), bins, -2.5, 2.5) for x in variables]
    return total(histogram(codes, bins))
