"""Exact Shapley values: what each player adds, averaged over all orders in which the players could join.

    phi_m = sum over S without m of  |S|! (M - |S| - 1)! / M!  *  (v(S + m) - v(S))            (Shapley 1953)

The values sum to v(all) - v(none). 2^M coalitions are needed, which is little for the handful of modalities there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import factorial
from typing import TypeVar

from mmbal.errors import UsageError

T = TypeVar("T")  # anything that can be added and scaled: a number, a NumPy array, a tensor with its gradient


def shapley_values(value: Mapping[tuple[str, ...], T], players: Sequence[str]) -> dict[str, T]:
    """Shapley value of each of ``players``, given the value of each of their 2^M coalitions.

    A coalition is the tuple of its members in the order of ``players`` (as ``mmbal.predictions.format.subsets_of`` lists
    them); values are numbers, arrays or tensors of one shape, such as one value a sample, and so are the results.
    Raises UsageError where a coalition has no value.
    """
    m = len(players)
    coalition = [tuple(p for i, p in enumerate(players) if code >> i & 1) for code in range(2**m)]
    for members in coalition:
        if members not in value:
            raise UsageError(f"The coalition {members} has no value; Shapley values need all {2**m}.")
    chance = [factorial(size) * factorial(m - size - 1) / factorial(m) for size in range(m)]
    total: dict[str, T] = {}
    for i, player in enumerate(players):
        for code in range(2**m):
            if not code >> i & 1:
                without, joined = coalition[code], coalition[code | 1 << i]
                gain = chance[len(without)] * (value[joined] - value[without])  # type: ignore[operator]
                total[player] = total[player] + gain if player in total else gain  # type: ignore[operator]
    return total
