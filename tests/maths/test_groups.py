"""The members of groups, against a comparison with each."""

from __future__ import annotations

import numpy as np
import pytest

from mmbal.maths.groups import members


@pytest.mark.parametrize("labels", [[3, 1, 3, 2, 1, 1], ["b", "a", "b"], [5], []])
def test_members_are_those_that_a_comparison_finds(labels):
    values = np.array(labels)
    found = [(name, positions.tolist()) for name, positions in members(values)]
    assert found == [(name, [k for k, v in enumerate(labels) if v == name]) for name in sorted(set(labels))]
