"""Shapley values of more modalities than can be asked about: random orders in antithetic pairs.

A modality's Shapley value is the mean, over all orders in which the modalities can join, of what it adds when it joins.
Every sample draws its own random orders, and each order is followed by its reverse (Mitchell, Cooper, Frank and Holmes,
"Sampling Permutations for Shapley Value Estimation", JMLR 2022). The mean over the pairs is unbiased, and the values of an
order sum to the value of all less that of none. The pairs of a sample are independent; their spread gives the error.
The orders of different samples are independent as well: the error of a mean over samples is part of the spread between
samples, and every interval that comes from drawing samples again contains it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmbal.errors import UsageError
from mmbal.predictions.columns import Array

FEWEST_PAIRS = 2  # below which there is no standard error


def always(m: int) -> set[int]:
    """Codes of the coalitions that all samples are asked about: none, one, all but one, all."""
    full = 2**m - 1
    return {0, full, *(1 << k for k in range(m)), *(full ^ 1 << k for k in range(m))}


def cost(m: int, pairs: int) -> int:
    """Coalitions asked of each sample, at most: the ones that are always asked, and those on the way of the orders."""
    return len(always(m)) + 2 * pairs * (m - 3)


def pairs_within(m: int, budget: int) -> int:
    """How many pairs of orders ``budget`` coalitions a sample are enough for; raises UsageError where they are too few."""
    found = (budget - len(always(m))) // (2 * (m - 3))
    if found < FEWEST_PAIRS:
        raise UsageError(
            f"A budget of {budget} is too small for {m} modalities.",
            f"Two pairs of orders need {cost(m, FEWEST_PAIRS)} coalitions a sample; all coalitions are {2**m}.",
        )
    return found


def draw_orders(n: int, m: int, pairs: int, seed: int) -> Array:
    """Orders ``(pairs, 2, n, m)`` of modality indices; the second of a pair is the reverse of the first."""
    rng = np.random.default_rng(seed)
    first = rng.random((pairs, n, m)).argsort(axis=-1)
    return np.stack([first, first[..., ::-1]], axis=1)


def codes_of(orders: Array) -> Array:
    """Codes of the coalitions on the way of ``orders (..., m)``: ``(..., m + 1)``, from none to all."""
    grown = np.cumsum(1 << orders, axis=-1)
    return np.concatenate([np.zeros_like(grown[..., :1]), grown], axis=-1)


@dataclass(frozen=True)
class Sampled:
    """Estimates ``(n, m, k)`` of k values for each sample and modality, and their standard errors."""

    value: Array
    error: Array


def estimate(orders: Array, values: Callable[[Array], Array]) -> Sampled:
    """Shapley values from ``orders (pairs, 2, n, m)``; ``values(codes (n,))`` gives each sample's coalition's ``(n, k)``."""
    pairs, _, n, m = orders.shape
    codes, rows = codes_of(orders), np.arange(n)
    found: Array | None = None
    for pair in range(pairs):
        for one in range(2):
            before = values(codes[pair, one, :, 0])
            if found is None:
                found = np.zeros((pairs, n, m, before.shape[1]))
            for step in range(m):
                after = values(codes[pair, one, :, step + 1])
                found[pair, rows, orders[pair, one, :, step]] += (after - before) / 2
                before = after
    assert found is not None
    return Sampled(found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(pairs))
