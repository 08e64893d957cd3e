"""TMC and ETMC by hand: the combined evidence, and the pseudo-view."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice
from mmbal.engine.train import Session
from mmbal.maths.evidence import evidential_loss
from mmbal.methods.tmc import annealing, combined_evidence

Toy = Callable[..., Store]


def test_the_evidence_of_two_combined_opinions():
    # b = (2/5, 1/5) and u = 2/5 (worked out with the rule's own test), so S = 2 / u = 5.
    found = combined_evidence(torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]))
    np.testing.assert_allclose(found, [[2.0, 1.0]], rtol=1e-6)


def test_a_view_without_evidence_changes_nothing():
    views = torch.rand(4, 3, 5)
    more = torch.cat([views, torch.zeros(4, 1, 5)], dim=1)
    assert torch.allclose(combined_evidence(more), combined_evidence(views), rtol=1e-4)


def test_the_divergence_comes_in_over_the_first_epochs():
    assert [annealing(t, 20, None) for t in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
    assert [annealing(t, 20, 10) for t in (0, 5, 15)] == [0, 0.5, 1]
    assert annealing(0, 3, None) == 1


@pytest.mark.parametrize("modalities", [2, 3, 6])
@pytest.mark.parametrize("name", ["tmc", "etmc"])
def test_the_losses_are_those_of_each_view_and_of_the_combination(name: str, modalities: int, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    choice = Choice(name=name, annealing=0)
    session = Session(config_for(name, toy(dict.fromkeys(names, 4), rows=64), method=choice))
    batch = next(session.run.train.epoch(0))
    batch.present["m0"][:5], batch.inputs["m0"][:5] = False, 0
    output = session.model(batch)
    found = session.method.losses(output, batch, session.method.phases(session.run)[0], session.run)
    softplus = torch.nn.functional.softplus
    views = {m: softplus(output.logits[m]) * batch.present[m][:, None] for m in names}
    if name == "etmc":
        heads = session.method.heads
        side_by_side = torch.cat([output.features[m] for m in names], dim=1)
        weight = torch.cat([heads[m].weight for m in names], dim=1)
        views["all modalities"] = softplus(side_by_side @ weight.T + sum(heads[m].bias for m in names))
    expected = {f"own/{view}": evidential_loss(e, batch.labels, 1.0) for view, e in views.items()}
    expected["fused"] = evidential_loss(combined_evidence(torch.stack([*views.values()], dim=1)), batch.labels, 1.0)
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        rows = rows[5:] if key == "own/m0" else rows
        assert found[key].item() == pytest.approx(rows.mean().item(), rel=1e-4), key
