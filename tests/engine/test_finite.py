"""Numbers that are not finite are found with their rows; large ones are let pass."""

from __future__ import annotations

import math

import pytest
import torch

from mmbal.engine.finite import NotFinite, require_finite


@pytest.mark.parametrize("wrong", [[math.nan, 1.0], [math.inf, -math.inf], [-math.inf, 0.0]])
def test_a_bad_row_is_named(wrong: list[float]):
    x = torch.zeros(4, 2, 2)
    x[2, 1] = torch.tensor(wrong)
    with pytest.raises(NotFinite, match="The input of 'b' has NaN or infinity") as error:
        require_finite({"a": torch.zeros(4, 1), "b": x, "words": torch.zeros(4, 3, dtype=torch.int64)}, "input")
    assert error.value.rows.tolist() == [False, False, True, False]


def test_finite_numbers_pass_also_where_their_sum_is_infinite():
    x = torch.full((2, 3), 3e38)
    assert torch.isinf(x.sum())
    require_finite({"a": x}, "input")
