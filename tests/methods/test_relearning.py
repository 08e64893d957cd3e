"""Re-learning against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import resume, train
from mmbal.errors import Interrupted
from mmbal.methods.relearning import by_row, feature_purity, move_back, purity, reset_strength

Toy = Callable[..., Store]


def config(toy: Toy, **choice: object) -> TrainConfig:
    store = toy({"audio": 6, "video": 4})
    return TrainConfig(
        data=str(store.path),
        method=Choice(name="relearning", **choice),
        epochs=4,
        optimiser=OptimiserConfig(lr=0.1),
        device="cpu",
    )


def test_purity_counts_the_most_frequent_class_of_each_cluster():
    clusters = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    labels = torch.tensor([1, 1, 0, 2, 2, 2, 0])
    assert purity(clusters, labels) == pytest.approx((2 + 3 + 1) / 7)


def test_well_separated_features_are_pure_and_columns_count_alike():
    # The second column tells the classes apart; without scaling, the first would decide.
    columns = torch.tensor([[0.0, 0.0], [1000.0, 0.0], [0.0, 1.0], [1000.0, 1.0], [500.0, 0.01], [500.0, 0.99]])
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    wide = columns[:, 1:].repeat(1, 3)
    assert feature_purity(torch.cat([columns, wide], dim=1), labels, 2) == 1.0
    assert feature_purity(columns[:1], labels[:1], 2) == 1.0


def test_the_reset_is_a_tanh_of_the_gap_towards_the_start():
    assert reset_strength(0.9, 0.6, 3.0) == reset_strength(0.6, 0.9, 3.0) == pytest.approx(math.tanh(0.9))
    now, start = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        now.weight.fill_(2.0), now.bias.fill_(-1.0), start.weight.fill_(6.0), start.bias.fill_(1.0)
    move_back(now, start, 0.25)
    assert (now.weight.item(), now.bias.item()) == pytest.approx((0.25 * 6 + 0.75 * 2, 0.25 * 1 - 0.75))


def test_rows_of_several_processes_are_put_in_order_once():
    rows, values = by_row(torch.tensor([[3.0], [1.0]]), torch.tensor([4, 2]), 6, lambda table: 2 * table)
    assert rows.tolist() == [2, 4]
    assert values.tolist() == [[1.0], [3.0]]


def test_encoders_are_moved_at_the_chosen_epochs(toy: Toy):
    made = Session(config(toy, every=2, times=1, strength=5.0))
    for epoch in (0, 1, 3, 4):
        made.run.epoch = epoch
        made.method.on_epoch_start(made.run)
        assert not made.run.records
    start = {m: [p.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    with torch.no_grad():
        for parameter in made.model.encoders.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    moved = {m: [p.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    head = [p.clone() for p in made.model.fusion.parameters()]
    made.run.epoch = 2
    made.method.on_epoch_start(made.run)
    for m, encoder in made.model.encoders.items():
        beta = made.run.records[f"reset/{m}"][0]
        assert beta == pytest.approx(math.tanh(5 * made.run.records[f"purity_gap/{m}"][0]))
        for first, before, parameter in zip(start[m], moved[m], encoder.parameters(), strict=True):
            assert torch.allclose(parameter, beta * first + (1 - beta) * before, atol=1e-6)
    assert all(torch.equal(a, p) for a, p in zip(head, made.model.fusion.parameters(), strict=True))


def test_a_resumed_run_moves_back_to_the_same_start(toy: Toy, tmp_path: Path):
    def stop(steps: int, message: str) -> None:
        if message.startswith("epoch 2"):
            raise KeyboardInterrupt

    whole = config(toy, every=3, times=1)
    train(whole, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(whole, out=tmp_path / "parts", report=stop)
    resume(tmp_path / "parts")
    a, b = (torch.load(tmp_path / x / "last.pt", weights_only=True)["model"] for x in ("whole", "parts"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert "reset/audio" in (tmp_path / "whole" / "metrics.jsonl").read_text()
