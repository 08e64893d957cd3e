"""The outputs of several batches as one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.models.outputs import joined


@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_batches_are_joined_in_their_order(toy: Callable[..., Store], fusion: str):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), fusion=Choice(name=fusion), batch_size=16, device="cpu")
    made = Session(config)
    whole, labels = joined(made.run.evaluate(made.run.validation))
    batch = made.run.validation.gather(made.run.validation.split_rows)
    at_once = made.model.eval()(batch)
    assert torch.equal(labels, batch.labels)
    assert torch.allclose(whole.fused, at_once.fused, atol=1e-6)
    assert (whole.contribution is None) == (fusion == "gated")
    for m in ("audio", "video"):
        assert torch.allclose(whole.features[m], at_once.features[m], atol=1e-6)
        assert torch.allclose(whole.logits[m], at_once.logits[m], atol=1e-6)
        assert torch.equal(whole.present[m], batch.present[m])
