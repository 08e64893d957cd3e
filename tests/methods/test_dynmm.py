"""DynMM by hand: the gate's weights, what experts cost, and the mixture of decisions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice
from mmbal.engine.train import Session
from mmbal.errors import ConfigError
from mmbal.methods.dynmm import expert_costs, gate_weights

Toy = Callable[..., Store]


def test_soft_and_hard_weights_have_one_gradient():
    logits = torch.tensor([[0.0, math.log(3), 5.0]])
    present = torch.tensor([[True, True, False]])
    np.testing.assert_allclose(gate_weights(logits, present, 1.0)[0], [0.25, 0.75, 0], rtol=1e-6)
    np.testing.assert_allclose(gate_weights(logits, present, 0.5)[0], [0.1, 0.9, 0], rtol=1e-6)
    np.testing.assert_allclose(gate_weights(logits, present, 1.0, hard=True)[0], [0, 1, 0], atol=1e-6)
    gradients = []
    for hard in (False, True):
        leaf = logits.clone().requires_grad_()
        gate_weights(leaf, present, 1.0, hard)[0, 0].backward()
        gradients.append(leaf.grad)
    assert torch.allclose(*gradients)


def test_an_expert_costs_its_share_of_the_encoders():
    np.testing.assert_allclose(expert_costs({}, ["a", "b", "c", "d"]), [0.25] * 4 + [1.0])
    np.testing.assert_allclose(expert_costs({"b": 3.0}, ["a", "b"]), [0.25, 0.75, 1.0])


@pytest.mark.parametrize("gate", ["soft", "hard", "gumbel"])
@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_the_decision_mixes_the_experts_that_a_sample_has(modalities: int, gate: str, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    session = Session(
        config_for("dynmm", toy(dict.fromkeys(names, 4), rows=64), method=Choice(name="dynmm", gate=gate))
    )
    batch = next(session.run.train.epoch(0))
    batch.present["m0"][:4], batch.inputs["m0"][:4] = False, 0
    plain = session.model(batch)
    assert session.method.fuse(plain) is plain  # the gate has not begun
    session.method.opened.fill_(True)
    session.method.eval()
    g, found = session.method.mixture(plain), session.method.fuse(plain)
    assert torch.allclose(g.sum(dim=1), torch.ones(len(batch)))
    assert not g[:4, 0].any()
    if gate != "soft":
        assert torch.allclose(g.max(dim=1).values, torch.ones(len(batch)))
    expected = sum(g[:, k, None] * plain.logits[m] for k, m in enumerate(names)) + g[:, -1:] * plain.fused
    assert torch.allclose(found.fused, expected, atol=1e-5)


def test_a_cost_makes_the_gate_prefer_single_experts(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    found = {}
    for resources in (0.0, 5.0):
        options = {"resources": resources, "warm_up": 0.0}
        session = Session(config_for("dynmm", store, method=Choice(name="dynmm", **options), epochs=4))
        session.fit()
        found[resources] = np.mean(session.run.records["gate/all"])
    assert found[5.0] < found[0.0]


def test_a_cost_of_what_is_not_there_or_of_nothing_is_refused(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    for cost in ({"audoi": 1.0}, {"audio": 0.0}):
        with pytest.raises(ConfigError, match=r"dynmm\.cost"):
            Session(config_for("dynmm", store, method=Choice(name="dynmm", cost=cost)))
