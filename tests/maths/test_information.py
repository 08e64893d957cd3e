"""Information of small tables whose values follow from the definitions."""

from __future__ import annotations

import math

import pytest
import torch

from mmbal.maths.information import (
    binned,
    conditional_entropy,
    conditional_mutual_information,
    entropy,
    histogram,
    mutual_information,
    normalised_conditional_mutual_information,
    normalised_mutual_information,
    standardised,
)
from mmbal.methods.parts.arm import shared_information

LN2 = math.log(2)


def test_entropy_and_mutual_information_of_a_known_table():
    counts = torch.tensor([[4.0, 0.0], [2.0, 2.0]])
    # p(x) = 1/2, 1/2; p(y) = 3/4, 1/4; p(x,y) = 1/2, 0, 1/4, 1/4.
    h_y = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert entropy(counts) == pytest.approx(1.5 * LN2)
    assert mutual_information(counts) == pytest.approx(LN2 + h_y - 1.5 * LN2)
    assert normalised_mutual_information(counts) == pytest.approx(2 * (h_y - 0.5 * LN2) / (LN2 + h_y))
    assert entropy(torch.zeros(3, 3)) == 0


def test_exclusive_or_is_all_joint_information():
    counts = torch.zeros(2, 2, 2)
    for x in range(2):
        for y in range(2):
            counts[x, y, x ^ y] = 5
    assert mutual_information(counts.sum(2)) == pytest.approx(0, abs=1e-12)
    assert conditional_mutual_information(counts) == pytest.approx(LN2)
    assert normalised_conditional_mutual_information(counts) == pytest.approx(1)


def test_each_condition_counts_by_its_share():
    counts = torch.zeros(2, 2, 2)
    counts[0, 0, 0] = counts[1, 1, 0] = 3  # z = 0, three quarters of the rows: x and y are the same coin
    counts[0, 0, 1] = 2  # z = 1: both are constant
    assert conditional_entropy(counts.sum(1)) == pytest.approx(0.75 * LN2)
    assert conditional_mutual_information(counts) == pytest.approx(0.75 * LN2)


def test_a_constant_tells_nothing():
    counts = torch.tensor([[7.0, 0.0], [0.0, 0.0]])
    assert normalised_mutual_information(counts) == 0
    assert normalised_conditional_mutual_information(counts[..., None]) == 0


def test_bins_are_of_equal_width_and_the_outer_ones_take_the_rest():
    values = torch.tensor([-9.0, -1.0, -0.51, -0.49, 0.0, 0.49, 0.51, 1.0, 9.0])
    assert binned(values, 4, -1.0, 1.0).tolist() == [0, 0, 0, 1, 2, 2, 3, 3, 3]
    x, y = torch.tensor([0, 1, 1, 2]), torch.tensor([2, 0, 0, 1])
    assert histogram([x, y], 3).tolist() == [[0, 0, 1], [2, 0, 0], [0, 1, 0]]


def test_columns_are_centred_and_the_whole_has_unit_spread():
    found = standardised(torch.tensor([[1.0, 10.0], [3.0, 10.0], [5.0, 16.0], [3.0, 12.0]]))
    # Columns less their means: -2 0 2 0 and -2 -2 4 0; mean square (8 + 24) / 8 = 4.
    assert found.tolist() == [[-1, -1], [0, -1], [1, 2], [0, 0]]


def test_the_interaction_of_the_public_code_has_no_factor_two():
    """x and y are the same coin, whatever z is: I(x;y|z) = ln 2 and H(x|z) + H(y|z) = 2 ln 2, so their quotient is 1/2."""
    counts = torch.zeros(1, 2, 2, 2)
    counts[0, 0, 0] = counts[0, 1, 1] = 3
    assert [float(part) for part in shared_information(counts)] == pytest.approx([1.0, 1.0])
    assert [float(part) for part in shared_information(counts, interaction=True)] == pytest.approx([1.0, 1 - 1 / 2])
