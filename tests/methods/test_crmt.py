"""CRMT by hand: orthonormal rows and their gradient, the margin, the certified radius, and the two steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice
from mmbal.engine.train import Session
from mmbal.methods.crmt import FLOOR, certified_radius, margin_loss
from mmbal.methods.parts.crmt import input_sensitivity, orthonormal_rows, unit_rows

Toy = Callable[..., Store]


def test_rows_are_orthonormal_and_centred_and_those_of_the_public_code_are_of_unit_length_alone():
    weight = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    rows = orthonormal_rows(weight)
    np.testing.assert_allclose(rows @ rows.T, np.eye(4), atol=1e-5)
    np.testing.assert_allclose(rows.sum(dim=1), np.zeros(4), atol=1e-5)
    units = unit_rows(weight)
    np.testing.assert_allclose(units.norm(dim=1), np.ones(4), atol=1e-6)
    assert (units @ units.T - torch.eye(4)).abs().max() > 0.1


def test_orthogonal_rows_stay_up_to_their_lengths():
    weight = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 3.0, -3.0]])
    np.testing.assert_allclose(orthonormal_rows(weight), np.array([[1, -1, 0, 0], [0, 0, 1, -1]]) / 2**0.5, atol=1e-6)


def test_the_gradient_is_that_of_finite_differences_also_where_eigenvalues_are_equal():
    weight = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])  # Z Z^T is twice the identity
    target = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    leaf = weight.clone().requires_grad_()
    (orthonormal_rows(leaf) * target).sum().backward()
    for i in range(2):
        for j in range(4):
            step = torch.zeros(2, 4)
            step[i, j] = 1e-2
            rise = (orthonormal_rows(weight + step) - orthonormal_rows(weight - step)) * target
            assert leaf.grad[i, j].item() == pytest.approx(rise.sum().item() / 2e-2, abs=2e-3)


def test_more_classes_than_dimensions_give_finite_rows_and_gradients():
    weight = torch.randn(10, 6, requires_grad=True)
    rows = orthonormal_rows(weight)
    rows.square().sum().backward()
    assert torch.isfinite(rows).all()
    assert torch.isfinite(weight.grad).all()


def test_the_margin_loss_sums_over_modalities_and_wrong_classes():
    scores = torch.tensor([[[1.0, 0.0, 2.0], [0.5, 0.5, 0.0]]])
    sums = [math.exp(-1) + math.exp(1), 1 + math.exp(-0.5)]
    for present, expected in (([1, 1], sum(sums)), ([1, 0], sums[0]), ([0, 0], 0.0)):
        found = margin_loss(scores, torch.tensor([0]), torch.tensor([present]).float())
        assert found.item() == pytest.approx(math.log(expected + FLOOR), rel=1e-5)


def test_the_radius_of_two_modalities():
    weights = torch.tensor([[1.0, 2.0, 1.0], [0.5, 1.0, 1.0]])
    scores = torch.tensor([[[3.0, 1.0, 0.0], [2.0, 0.0, 1.0]]])
    bias, sensitivity = torch.tensor([0.0, 0.5, 0.0]), torch.tensor([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    # o = (3 + 1, 2 + 0 + .5, 0 + 1): the rival of class 0 is class 1; moved: (1 + 2, 1 + 1).
    found = certified_radius(weights, scores, bias, sensitivity, torch.tensor([0]), torch.ones(1, 2))
    assert found.item() == pytest.approx(1.5 / math.sqrt(9 + 4), rel=1e-5)
    found = certified_radius(weights, scores, bias, sensitivity, torch.tensor([0]), torch.tensor([[1.0, 0.0]]))
    assert found.item() == pytest.approx(0.5 / 3, rel=1e-5)


def test_the_sensitivity_of_a_linear_encoder_is_the_length_of_its_product():
    encoder = nn.Linear(5, 4)
    rows = torch.randn(3, 4)
    found = input_sensitivity(encoder, rows, torch.randn(7, 5))
    assert torch.allclose(found, (rows @ encoder.weight).norm(dim=1), atol=1e-5)
    assert torch.allclose(input_sensitivity(encoder, rows, torch.ones(7, 5, dtype=torch.long)), rows.norm(dim=1))


@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_the_second_step_changes_the_weights_alone(modalities: int, toy: Toy):
    store = toy({f"m{i}": 4 for i in range(modalities)}, rows=96)
    session = Session(config_for("crmt", store, epochs=4, method=Choice(name="crmt", second=0.5)))
    before, start = {}, session.method.on_epoch_start

    def watched(run):
        if run.epoch == 2:
            before.update(
                {k: v.clone() for k, v in run.model.state_dict().items()} | {"a": session.method.weights.clone()}
            )
        start(run)

    session.method.on_epoch_start = watched
    session.fit()
    assert all(torch.equal(value, before[key]) for key, value in session.model.state_dict().items())
    assert not torch.equal(session.method.weights, before["a"])
    assert not torch.equal(session.method.sensitivity, torch.ones_like(session.method.sensitivity))
