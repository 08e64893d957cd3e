"""Shapley values against hand-computed games and against the definition by permutations."""

from itertools import combinations, permutations

import numpy as np
import pytest
import torch

from mmbal.errors import UsageError
from mmbal.maths.shapley import shapley_values


def coalitions(players):
    return [s for size in range(len(players) + 1) for s in combinations(players, size)]


def test_two_players_by_hand():
    found = shapley_values({(): 0.2, ("a",): 0.6, ("v",): 0.4, ("a", "v"): 0.7}, ("a", "v"))
    # a: ((0.6 - 0.2) + (0.7 - 0.4)) / 2; v: ((0.4 - 0.2) + (0.7 - 0.6)) / 2
    assert found["a"] == pytest.approx(0.35)
    assert found["v"] == pytest.approx(0.15)


def test_the_glove_game():
    # One left glove (a), two right gloves (b, c); a pair is worth 1: the known answer is 2/3, 1/6, 1/6.
    value = {s: float("a" in s and len(s) > 1) for s in coalitions("abc")}
    found = shapley_values(value, "abc")
    assert found == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 6), "c": pytest.approx(1 / 6)}


def test_the_average_over_all_orders_for_five_players_and_a_vector_of_values():
    players = tuple("abcde")
    rng = np.random.default_rng(0)
    value = {s: rng.normal(size=4) for s in coalitions(players)}
    expected = {p: np.zeros(4) for p in players}
    orders = list(permutations(players))
    for order in orders:
        before = ()
        for p in order:
            after = tuple(q for q in players if q in before or q == p)
            expected[p] += (value[after] - value[before]) / len(orders)
            before = after
    found = shapley_values(value, players)
    for p in players:
        assert np.allclose(found[p], expected[p])
    assert np.allclose(sum(found.values()), value[players] - value[()])


def test_tensors_keep_their_gradient():
    together = torch.tensor([2.0, 3.0], requires_grad=True)
    zero = torch.zeros(2)
    found = shapley_values({(): zero, ("a",): zero + 1, ("b",): zero, ("a", "b"): together}, ("a", "b"))
    found["a"].sum().backward()
    assert torch.equal(together.grad, torch.tensor([0.5, 0.5]))


def test_one_player_gets_everything():
    assert shapley_values({(): 1.0, ("a",): 5.0}, ("a",)) == {"a": 4.0}


def test_a_missing_coalition_is_named():
    with pytest.raises(UsageError, match=r"\('b',\)"):
        shapley_values({(): 0.0, ("a",): 1.0, ("a", "b"): 1.0}, ("a", "b"))
