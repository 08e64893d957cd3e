"""Jensen-Shannon by hand."""

import math

import pytest
import torch

from mmbal.maths.divergences import jensen_shannon


def test_jensen_shannon_by_hand():
    p, q = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.25, 0.75], [0.0, 1.0]])
    first = 0.5 * (0.5 * math.log(0.5 / 0.375) + 0.5 * math.log(0.5 / 0.625))
    first += 0.5 * (0.25 * math.log(0.25 / 0.375) + 0.75 * math.log(0.75 / 0.625))
    found = jensen_shannon((p + 1e-30).log(), (q + 1e-30).log())
    assert found.tolist() == pytest.approx([first, math.log(2)])
    assert jensen_shannon((q + 1e-30).log(), (p + 1e-30).log()).tolist() == pytest.approx(found.tolist())
