"""Prototypes against numbers worked out by hand."""

import math

import pytest
import torch

from mmbal.maths.prototypes import blend, class_means, prototype_cross_entropy


def test_a_class_is_found_by_cosine_among_those_remembered():
    memory = torch.tensor([[2.0, 0.0], [0.0, 3.0], [9.0, 9.0]])
    seen = torch.tensor([True, True, False])
    mapped = torch.tensor([[5.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    found = prototype_cross_entropy(mapped, memory, seen, torch.tensor([0, 1, 2]), temperature=0.5)
    # cosines 1 and 0 over 0.5: -log(e^2 / (e^2 + 1)); equal cosines: log 2; a class never seen: nothing
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(-2)), math.log(2), 0.0], abs=1e-6)


def test_running_class_means():
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0], [100.0, 100.0], [5.0, 5.0]])
    rows = torch.tensor([True, True, False, True])
    fresh, counts = class_means(features, torch.tensor([0, 0, 0, 2]), rows, classes=3)
    assert fresh.tolist() == [[2.0, 3.0], [0.0, 0.0], [5.0, 5.0]]
    assert counts.tolist() == [2.0, 0.0, 1.0]
    old, seen = torch.tensor([[4.0, 5.0], [7.0, 7.0], [0.0, 0.0]]), torch.tensor([True, True, False])
    found = blend(old, seen, fresh, counts, momentum=0.9)
    assert found.flatten().tolist() == pytest.approx([3.8, 4.8, 7.0, 7.0, 5.0, 5.0])
