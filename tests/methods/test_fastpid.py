"""FastPID by hand: known decompositions, codes, and the schedule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.fastpid import stopped
from mmbal.methods.parts.fastpid import clusters_for, codes, joint_table, least_informative, partial_information

Toy = Callable[..., Store]


def gate(rule: Callable[[int, int], int]) -> torch.Tensor:
    table = torch.zeros(2, 2, 2)
    for a in range(2):
        for b in range(2):
            table[a, b, rule(a, b)] = 1
    return table


def parts(table: torch.Tensor) -> list[float]:
    found = partial_information(table)
    return [found[name] for name in ("redundancy", "unique1", "unique2", "synergy")]


def test_decompositions_that_are_known():
    # Bertschinger et al., Entropy 2014: the values of the gates, in bits.
    assert parts(gate(lambda a, b: a ^ b)) == pytest.approx([0, 0, 0, 1], abs=1e-3)
    assert parts(gate(lambda a, b: a & b)) == pytest.approx([0.3113, 0, 0, 0.5], abs=2e-3)
    assert parts(gate(lambda a, b: a)) == pytest.approx([0, 1, 0, 0], abs=1e-3)
    copy = torch.zeros(2, 2, 2)
    copy[0, 0, 0] = copy[1, 1, 1] = 5
    assert parts(copy) == pytest.approx([1, 0, 0, 0], abs=1e-3)
    both = torch.zeros(2, 2, 4)
    for a in range(2):
        for b in range(2):
            both[a, b, 2 * a + b] = 1
    assert parts(both) == pytest.approx([0, 1, 1, 0], abs=1e-3)


def test_the_least_informative_table_keeps_the_margins():
    table = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    table /= table.sum()
    found = least_informative(table)
    assert torch.allclose(found.sum(0), table.sum(0), atol=1e-7)
    assert torch.allclose(found.sum(1), table.sum(1), atol=1e-7)
    shares = partial_information(table)
    assert min(shares.values()) > -1e-6


def test_no_other_table_with_the_margins_tells_less():
    table = torch.rand(2, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    table /= table.sum()

    def information(q: torch.Tensor) -> float:
        joint = q.flatten(0, 1)
        return float((joint * (joint / (joint.sum(0) * joint.sum(1, keepdim=True))).log()).sum())

    best = information(least_informative(table))
    swing = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.double)  # leaves both margins of a 2 x 2 table alone
    grid = []
    for i in np.linspace(-0.3, 0.3, 121):
        for j in np.linspace(-0.3, 0.3, 121):
            q = table + torch.stack([i * swing, j * swing], dim=2)
            if q.min() > 0:
                grid.append(information(q))
    assert best == pytest.approx(min(grid), abs=1e-3)
    assert best <= min(grid) + 1e-6


def test_codes_are_clusters_and_counted():
    z = np.concatenate([np.eye(4)[[0] * 5], np.eye(4)[[1] * 5]]) + 0.01 * np.random.default_rng(0).normal(size=(10, 4))
    found = codes(z, 2)
    assert len(set(found[:5].tolist())) == len(set(found[5:].tolist())) == 1
    assert torch.equal(found, codes(z, 2))
    table = joint_table(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 0]), torch.tensor([1, 0, 0]), 2)
    assert table.shape == (2, 3, 2)
    assert table[1, 0, 0] == 2
    assert table[0, 2, 1] == 1
    assert clusters_for(5 * 6 * 49, 6, 20) == 7
    assert clusters_for(10, 6, 20) == 2
    assert clusters_for(10**6, 6, 20) == 20
    assert codes(np.ones((6, 3)), 5).tolist() == [0] * 6


def test_who_stops():
    assert stopped({"a": 0.7, "v": 0.2}, 3.0) == {"a"}
    assert stopped({"a": 0.6, "v": 0.2}, 3.0) == set()
    assert stopped({"a": 0.9, "t": 0.7, "v": 0.2}, 3.0) == {"a", "t"}
    assert stopped({"a": 0.1, "v": 0.0}, 3.0) == {"a"}


def test_the_schedule(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    def session() -> Session:
        store = toy({"audio": 6, "video": 4})
        choice = Choice(name="fastpid", every=1, first=0.9)
        return Session(TrainConfig(data=str(store.path), method=choice, epochs=10, device="cpu"))

    def learning(measures: list[tuple[float, float, float]]) -> list[tuple[tuple[str, ...], bool]]:
        run = session()
        ahead = iter(measures)

        def measured(state: object) -> tuple[dict[str, float], float]:
            audio, video, synergy = next(ahead)
            return {"audio": audio, "video": video}, synergy

        monkeypatch.setattr(run.method, "decomposed", measured)
        seen = []
        for run.run.epoch in range(10):
            run.method.on_epoch_start(run.run)
            seen.append((run.method.phases(run.run)[0].modalities, bool(run.method.joint)))
            run.method.on_epoch_end(run.run)
        return seen

    both, audio, video = ("audio", "video"), ("audio",), ("video",)
    # audio is far ahead and stops; when video is far ahead the set changes a second time, which ends the stage
    found = learning([(0.5, 0.5, 0.1), (0.9, 0.1, 0.1), (0.4, 0.3, 0.1), (0.1, 0.9, 0.1)])
    assert found[:4] == [(both, False), (both, False), (video, False), (video, False)]
    assert found[4:] == [(both, True)] * 6
    # synergy falls under .8 of its peak
    found = learning([(0.5, 0.5, 0.1), (0.5, 0.5, 0.3), (0.5, 0.5, 0.25), (0.5, 0.5, 0.2)])
    assert [joint for _, joint in found] == [False] * 4 + [True] * 6
    # neither: the stage ends with its epochs
    found = learning([(0.1, 0.5, 0.1)] * 9)
    assert [m for m, _ in found] == [both] + [audio] * 8 + [both]


def test_the_stages_losses_and_what_is_measured(toy: Toy):
    store = toy({"audio": 6, "text": 5, "video": 4})
    run = Session(TrainConfig(data=str(store.path), method=Choice(name="fastpid"), epochs=4, device="cpu"))
    method, state = run.method, run.run
    unique, synergy = method.decomposed(state)
    assert set(unique) == {"audio", "text", "video"}
    assert min(unique.values()) > -1e-6
    assert synergy > -1e-6
    method.active[1] = False
    (phase,) = method.phases(state)
    assert phase.modalities == ("audio", "video")
    batch = next(state.train.epoch(0))
    losses = method.losses(run.model(batch), batch, phase, state)
    assert set(losses) == {"own/audio", "own/video"}
    method.joint.fill_(True)
    joint = method.losses(run.model(batch), batch, method.phases(state)[0], state)
    assert set(joint) == {"fused", "own/audio", "own/text", "own/video"}
    assert joint["own/audio"].item() == pytest.approx(0.6 * losses["own/audio"].item(), rel=1e-5)
