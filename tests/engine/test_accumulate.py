"""Accumulated gradients: a step on two halves of a batch is that on the whole batch, for every method that says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.session import Session
from mmbal.engine.train import train
from mmbal.errors import ConfigError
from mmbal.methods.base import Method
from mmbal.registry import methods

Toy = Callable[..., Store]
MODULATING = [e.name for e in methods if e.cls.on_gradients is not Method.on_gradients and e.cls.accumulates]


@pytest.mark.parametrize("name", ["joint", "dgl", *MODULATING])
def test_two_halves_are_the_whole(name: str, toy: Toy):
    store = toy({"audio": 6, "video": 4}, rows=160)
    found = []
    for size, accumulate in ((16, 1), (8, 2)):
        session = Session(config_for(name, store, batch_size=size, accumulate=accumulate, epochs=1))
        assert session.run.train.n_samples % 16 == 0
        session.fit()
        assert session.run.step % (session.run.train.n_samples // 16) == 0
        found.append(session.model.state_dict() | session.method.state_dict())
    for key, value in found[0].items():
        close = {"rtol": 1e-3, "atol": 3e-5, "equal_nan": True}
        torch.testing.assert_close(found[1][key], value, **close, msg=lambda text, key=key: f"{key}: {text}")


def test_a_method_that_needs_all_samples_at_once_is_refused(toy: Toy, tmp_path: Path):
    store = toy({"audio": 6, "video": 4})
    with pytest.raises(ConfigError, match="can't accumulate"):
        train(config_for("mmpareto", store, accumulate=2), out=tmp_path / "run")
