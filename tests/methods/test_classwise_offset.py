"""The class-wise offset by hand: its running means, and what it changes where modalities are missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from worlds import config_for

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice
from mmbal.engine.train import Session
from mmbal.methods.classwise_offset import offsets, running_mean

Toy = Callable[..., Store]


def test_offsets_move_every_modality_to_the_mean():
    mean = torch.tensor([[1.0, 0.0], [3.0, 4.0], [2.0, 2.0]])
    assert offsets(mean).tolist() == [[1, 2], [-1, -2], [0, 0]]
    np.testing.assert_allclose(running_mean(torch.tensor([1.0]), torch.tensor([3.0]), 0.05), [1.1], rtol=1e-6)


@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_offsets_cancel_where_all_are_there_and_act_where_one_is_missing(modalities: int, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    session = Session(config_for("classwise_offset", toy(dict.fromkeys(names, 4), rows=64)))
    batch = next(session.run.train.epoch(0))
    batch.present["m0"][:4], batch.inputs["m0"][:4] = False, 0
    session.method.mean.copy_(torch.randn(modalities, 3))
    plain = session.model(batch)
    found = session.method.fuse(plain)
    shift = session.method.mean.mean(dim=0) - session.method.mean
    assert torch.allclose(found.fused[4:], plain.fused[4:], atol=1e-5)
    assert torch.allclose(found.fused[:4], plain.fused[:4] - shift[0], atol=1e-5)
    assert torch.allclose(found.logits["m1"], plain.logits["m1"] + shift[1], atol=1e-6)


def test_the_means_are_of_the_logits_before_the_offset_over_the_samples_that_have_the_modality(toy: Toy):
    store = toy({"audio": 6, "video": 4}, rows=64)
    session = Session(config_for("classwise_offset", store, method=Choice(name="classwise_offset", smoothing=0.5)))
    method, run = session.method, session.run
    batch = next(run.train.epoch(0))
    batch.present["audio"][:4], batch.inputs["audio"][:4] = False, 0
    plain = session.model(batch)
    for _ in range(2):
        method.losses(method.fuse(plain), batch, method.phases(run)[0], run)
    # From 0, two steps of one half: 3/4 of the mean.
    expected = 0.75 * torch.stack([plain.logits["audio"][4:].mean(dim=0), plain.logits["video"].mean(dim=0)])
    assert torch.allclose(method.mean, expected, atol=1e-5)
