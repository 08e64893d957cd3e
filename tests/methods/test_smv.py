"""SMV by hand: contributions of right and wrong coalitions, how many copies, and the loss with them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.smv import chance, contributions, copies

Toy = Callable[..., Store]


def test_contributions_of_two_modalities():
    right = {
        ("a",): torch.tensor([True, False, True, False]),
        ("v",): torch.tensor([True, False, False, True]),
        ("a", "v"): torch.tensor([True, True, False, True]),
    }
    found = contributions(right, ("a", "v"))
    # (v_a + v_av - v_v) / 2 with v_av = 2 and v_a = v_v = 1 where right
    assert found["a"].tolist() == [1.0, 1.0, 0.5, 0.5]
    assert found["v"].tolist() == [1.0, 1.0, -0.5, 1.5]


def test_contributions_of_three_sum_to_the_value_of_all():
    names = ("a", "t", "v")
    members = [("a",), ("t",), ("v",), ("a", "t"), ("a", "v"), ("t", "v"), names]
    right = {s: torch.tensor([s in (("a",), ("a", "t"), ("a", "v"), names)]) for s in members}
    found = contributions(right, names)
    # a joins first, second (two ways) or third: 1/3 1 + 1/6 (2 + 2) + 1/3 3; t and v: 1/6 (2 - 1) + 1/3 (3 - 2)
    assert found["a"].item() == pytest.approx(2.0)
    assert found["t"].item() == found["v"].item() == pytest.approx(0.5)


def test_the_less_a_modality_gives_the_more_copies():
    phi = torch.tensor([1.5, 1.0, 0.99, 0.5, 0.4, 0.0, -0.1, -0.5])
    assert copies(phi).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_chance_of_the_modality_behind():
    assert chance({"a": 1.1, "v": 0.5}, 1.0) == pytest.approx({"a": 0.0, "v": 0.4})
    assert chance({"a": 1.1, "v": 0.5}, 1.0, "tanh") == pytest.approx({"a": 0.0, "v": math.tanh(0.4)})
    assert chance({"a": 1.1, "v": 0.5}, 1.0, "power") == pytest.approx({"a": 0.0, "v": 0.4**1.5})
    assert chance({"a": 1.0, "t": 0.4, "v": -2.0}, 1.0) == pytest.approx({"a": 0.0, "t": 0.4, "v": 1.0})


def session(toy: Toy, **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="smv", **options), epochs=2, device="cpu"))


def test_the_loss_is_the_mean_over_rows_and_copies(toy: Toy):
    run = session(toy)
    state, method = run.run, run.method
    method.on_epoch_start(state)
    batch = next(state.train.epoch(0))
    output = run.model(batch)
    counts = method.counts[:, batch.index]
    assert 0 < counts.sum() < 9 * len(batch)
    whole, number = 0.0, 0
    for i in range(len(batch)):
        y = int(batch.labels[i])
        whole += float(cross_entropy(output.fused[i], torch.tensor(y)).detach())
        number += 1
        for k, m in enumerate(("audio", "text", "video")):
            alone = run.model.fusion.weights[m] @ output.features[m][i] + run.model.fusion.shared_bias
            for _ in range(int(counts[k, i])):
                whole += float(cross_entropy(alone, torch.tensor(y)).detach())
                number += 1
    found = method.losses(output, batch, method.phases(state)[0], state)
    assert sum(loss.item() for loss in found.values()) == pytest.approx(whole / number, rel=1e-4)


def test_a_share_of_a_batch_weighs_as_in_the_whole(toy: Toy):
    run = session(toy)
    run.method.on_epoch_start(run.run)
    batch = next(run.run.train.epoch(0))
    phase = run.method.phases(run.run)[0]
    alone = run.method.losses(run.model(batch), batch, phase, run.run)
    run.run.reduce = lambda value: 2 * value  # another process with the same rows
    both = run.method.losses(run.model(batch), batch, phase, run.run)
    assert all(torch.allclose(alone[name], both[name]) for name in alone)


def test_an_absent_modality_gets_no_copies_and_warm_up_none_at_all(toy: Toy):
    run = session(toy)
    store = run.run.train.store
    store.present["video"] = store.present["video"].copy()
    store.present["video"][::2] = False
    try:
        run.method.on_epoch_start(run.run)
        assert not run.method.counts[2][::2].any()
        assert run.method.counts[2][1::2].any()
    finally:
        store.present["video"][:] = True
    late = session(toy, warm_up=1)
    late.method.on_epoch_start(late.run)
    assert not late.method.counts.any()


def test_whole_modalities_are_shown_again_by_chance(toy: Toy):
    run = session(toy, level="modality", alpha=100.0)
    run.method.on_epoch_start(run.run)
    rows = run.run.train.split_rows
    shares = run.method.counts[:, rows].mean(dim=1).tolist()
    assert min(shares) == 0.0  # the best
    assert max(shares) == 1.0
