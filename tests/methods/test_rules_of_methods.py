"""Where a method's decision needs no more than the logits, the rule of the same name on a run's predictions gives it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import log_softmax
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.decision import fit_rule
from mmbal.engine.train import Session


@pytest.mark.parametrize("modalities", [2, 3, 6])
@pytest.mark.parametrize("name", ["qmf", "tmc", "ecml"])
def test_a_rule_decides_as_the_method_that_trains_for_it(name: str, modalities: int, toy: Callable[..., Store]):
    store = toy({f"m{i}": 4 for i in range(modalities)}, rows=96)
    session = Session(config_for(name, store))
    session.store.present["m0"] = np.arange(96) % 3 > 0
    session.fit()
    found = session.decisions.on("test")
    decided = fit_rule(found, name).apply(found)
    np.testing.assert_allclose(decided, log_softmax(found.fused, axis=1), atol=1e-4)
