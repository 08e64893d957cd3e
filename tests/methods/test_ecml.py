"""ECML by hand: conflict of two and three modalities, and its losses beside those of the public code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice
from mmbal.engine.train import Session
from mmbal.methods.ecml import conflict

Toy = Callable[..., Store]
# alpha = (3, 1) and (1, 3): u = 1/2, p = (3/4, 1/4) and (1/4, 3/4), distance 1/2, so c = 1/4 * 1/2 in each order.
TWO = [[2.0, 0.0], [0.0, 2.0]]


@pytest.mark.parametrize(
    ("evidence", "present", "expected"),
    [
        (TWO, [1, 1], 2 / 8),
        ([*TWO, [0.0, 0.0]], [1, 1, 1], 2 / 8 / 2),  # no evidence: u = 1, no conflict, but one more in the mean
        ([*TWO, [9.0, 0.0]], [1, 1, 0], 2 / 8),  # missing
        (TWO, [1, 0], 0.0),
        ([[2.0, 0.0], [2.0, 0.0]], [1, 1], 0.0),
    ],
)
def test_conflict_needs_two_that_are_sure_of_different_classes(evidence: list, present: list, expected: float):
    found = conflict(torch.tensor([evidence]), torch.tensor([present]).float())
    assert float(found) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_the_public_code_divides_the_losses_but_not_the_conflict(modalities: int, toy: Toy):
    store = toy({f"m{i}": 4 for i in range(modalities)}, rows=64)
    found = {}
    for divide in (False, True):
        session = Session(config_for("ecml", store, method=Choice(name="ecml", divide=divide)))
        batch = next(session.run.train.epoch(0))
        output = session.method.fuse(session.model(batch))
        found[divide] = session.method.losses(output, batch, session.method.phases(session.run)[0], session.run)
    assert len(found[True]) == modalities + 2
    for key, loss in found[False].items():
        scale = 1 if key == "conflict" else modalities + 1
        assert loss.item() == pytest.approx(scale * found[True][key].item(), rel=1e-5)
