"""PDF by hand: weights in training and in the test, the loss of the predictors, and what they may learn from."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.train import Session
from mmbal.methods.pdf import confidence_loss, weights

Toy = Callable[..., Store]


def test_weights_of_two_modalities_in_training_and_in_the_test():
    t, there = torch.tensor([[0.8, 0.5]]), torch.ones(1, 2)
    total = math.log(0.8) + math.log(0.5)
    belief = [0.8 + math.log(0.5) / total, 0.5 + math.log(0.8) / total]
    expected = np.exp(belief) / np.exp(belief).sum()
    np.testing.assert_allclose(weights(t, there)[0], expected, rtol=1e-6)
    logits = torch.log(torch.tensor([[[0.9, 0.1], [0.6, 0.4]]]))  # rc: 1, and 0.1 / 0.4
    calibrated = np.exp([belief[0], belief[1] / 4])
    np.testing.assert_allclose(weights(t, there, logits)[0], calibrated / calibrated.sum(), rtol=1e-5)


def test_a_missing_modality_has_no_weight_and_no_part_in_the_others():
    found = weights(torch.tensor([[0.8, 0.5, 0.3]]), torch.tensor([[1.0, 0.0, 1.0]]))
    np.testing.assert_allclose(found[0][[0, 2]], weights(torch.tensor([[0.8, 0.3]]), torch.ones(1, 2))[0])
    assert found[0, 1] == 0
    assert weights(torch.tensor([[0.8, 0.5]]), torch.tensor([[0.0, 1.0]])).tolist() == [[0, 1]]


def test_a_saturated_prediction_has_finite_weights():
    assert torch.isfinite(weights(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.ones(2, 2))).all()


def test_the_predictor_is_compared_with_the_probability_of_the_truth():
    logits = torch.log(torch.tensor([[0.8, 0.2], [0.5, 0.5]])).requires_grad_()
    found = confidence_loss(torch.tensor([0.6, 0.9]), logits, torch.tensor([1, 0]))
    np.testing.assert_allclose(found.tolist(), [0.4, 0.4], rtol=1e-6)
    assert not found.requires_grad


@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_the_decision_weighs_the_parts_and_the_encoders_do_not_learn_from_the_predictors(modalities: int, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    session = Session(config_for("pdf", toy(dict.fromkeys(names, 4), rows=64)))
    batch = next(session.run.train.epoch(0))
    batch.present["m0"][:2], batch.inputs["m0"][:2] = False, 0
    output = session.model(batch)
    t = session.method.confidence(output).detach()
    for decided, logits in ((session.method.fuse(output), None), (session.method.predict(output), output.stacked()[0])):
        w = weights(t, output.stacked()[1], logits)
        expected = sum(w[:, k, None] * output.logits[m] for k, m in enumerate(names))
        assert torch.allclose(decided.fused, expected, atol=1e-6)
    losses = session.method.losses(
        session.method.fuse(output), batch, session.method.phases(session.run)[0], session.run
    )
    losses["confidence/m1"].backward()
    assert all(p.grad is None for p in session.model.parameters())
    assert all(p.grad is not None for p in session.method.predictors["m1"].parameters())
