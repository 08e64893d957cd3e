"""Data Remixing by hand: who is least sure, the batches of one modality, and their loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.remix import confidence, least_confident

Toy = Callable[..., Store]


def test_confidence_is_the_divergence_from_the_uniform_distribution():
    p = [[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3]]
    expected = [sum(q * math.log(q * 3) for q in row) for row in p]
    assert confidence(torch.tensor(p).log()).tolist() == pytest.approx(expected, abs=1e-6)


def test_the_least_confident_of_those_that_are_there():
    logits = {
        "a": torch.tensor([[3.0, 0.0], [0.1, 0.0], [9.0, 0.0]]),
        "b": torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.5, 0.0]]),
        "c": torch.tensor([[0.0, 1.0], [5.0, 0.0], [0.2, 0.0]]),
    }
    present = {m: torch.tensor([True, True, True]) for m in "ab"} | {"c": torch.tensor([True, True, False])}
    assert least_confident(logits, present).tolist() == [2, 0, 1]


def session(toy: Toy, **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="remix", **options)
    return Session(TrainConfig(data=str(store.path), method=choice, epochs=6, batch_size=8, device="cpu"))


def test_an_epoch_is_every_row_once_in_batches_of_one_modality(toy: Toy):
    run = session(toy)
    method, state = run.method, run.run
    firsts = []
    for state.epoch in (1, 2, 3):
        method.on_epoch_start(state)
        batches = list(state.train.epoch(state.epoch, method.sampler(state)))
        assert sorted(row for b in batches for row in b.index.tolist()) == state.train.split_rows.tolist()
        of = [set(method.chosen[b.index].tolist()) for b in batches]
        assert all(len(members) == 1 for members in of)
        firsts.append(of[0].pop())
    assert firsts == [1, 2, 0]  # they take turns


def test_the_loss_reads_one_modality_of_each_row(toy: Toy):
    run = session(toy, gamma=0.5)
    method, state, model = run.method, run.run, run.model
    state.epoch = 1
    method.on_epoch_start(state)
    batch = next(state.train.epoch(0))
    output = model.decide(method.on_features(model.encode(batch), batch, state), batch.present)
    found = method.losses(output, batch, method.phases(state)[0], state)
    features, fusion = model.encode(batch), model.fusion
    whole, own = [], {}
    for i, k in enumerate(method.chosen[batch.index].tolist()):
        m = model.modalities[k]
        read = fusion.weights[m] @ features[m][i]
        whole.append(cross_entropy(read + fusion.shared_bias, batch.labels[i]).item())
        own.setdefault(m, []).append(cross_entropy(read + fusion.shared_bias / 3, batch.labels[i]).item())
    assert found["fused"].item() == pytest.approx(sum(whole) / len(whole), rel=1e-4)
    assert {name for name in found if name != "fused"} == {f"own/{m}" for m in own}
    for m, values in own.items():
        assert found[f"own/{m}"].item() == pytest.approx(0.5 * sum(values) / len(values), rel=1e-4)


def test_the_warm_up_is_joint_with_own_losses(toy: Toy):
    run = session(toy, beta=0.25)
    run.method.on_epoch_start(run.run)
    assert run.method.sampler(run.run) is None
    batch = next(run.run.train.epoch(0))
    output = run.model(batch)
    found = run.method.losses(output, batch, run.method.phases(run.run)[0], run.run)
    for m in run.model.modalities:
        expected = 0.25 * cross_entropy(output.logits[m], batch.labels).item()
        assert found[f"own/{m}"].item() == pytest.approx(expected, rel=1e-5)
