"""Exact Shapley values: what each player adds, averaged over all orders in which the players could join.

    phi_m = sum over S without m of  |S|! (M - |S| - 1)! / M!  *  (v(S + m) - v(S))            (Shapley 1953)

The values sum to v(all) - v(none). 2^M coalitions are needed, which is little for the handful of modalities there are.
The interaction of a pair is what it adds together beyond what each of the two adds (Grabisch and Roubens 1999):

    I_ij = sum over S without i, j of  |S|! (M - |S| - 2)! / (M - 1)!  *  (v(S + i + j) - v(S + i) - v(S + j) + v(S))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
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
    m, coalition = len(players), _coalitions(value, players)
    chance = [factorial(size) * factorial(m - size - 1) / factorial(m) for size in range(m)]
    total: dict[str, T] = {}
    for i, player in enumerate(players):
        for code in range(2**m):
            if not code >> i & 1:
                without, joined = coalition[code], coalition[code | 1 << i]
                gain = chance[len(without)] * (value[joined] - value[without])  # type: ignore[operator]
                total[player] = total[player] + gain if player in total else gain  # type: ignore[operator]
    return total


def shapley_interactions(value: Mapping[tuple[str, ...], T], players: Sequence[str]) -> dict[tuple[str, str], T]:
    """Shapley interaction of each pair of ``players``; ``value`` and errors are those of :func:`shapley_values`.

    Of two players it is v(both) - v(first) - v(second) + v(none).
    """
    m, coalition = len(players), _coalitions(value, players)
    chance = [factorial(size) * factorial(m - size - 2) / factorial(m - 1) for size in range(m - 1)]
    total: dict[tuple[str, str], T] = {}
    for i, j in combinations(range(m), 2):
        pair = players[i], players[j]
        for code in range(2**m):
            if not code >> i & 1 and not code >> j & 1:
                none, one, other, both = (coalition[code | extra] for extra in (0, 1 << i, 1 << j, 1 << i | 1 << j))
                more = value[both] - value[one] - value[other] + value[none]  # type: ignore[operator]
                gain = chance[len(none)] * more
                total[pair] = total[pair] + gain if pair in total else gain
    return total


def _coalitions(value: Mapping[tuple[str, ...], T], players: Sequence[str]) -> list[tuple[str, ...]]:
    """The 2^M coalitions; bit i of the position says whether player i is a member."""
    m = len(players)
    found = [tuple(p for i, p in enumerate(players) if code >> i & 1) for code in range(2**m)]
    for members in found:
        if members not in value:
            raise UsageError(f"The coalition {members} has no value; Shapley values need all {2**m}.")
    return found
