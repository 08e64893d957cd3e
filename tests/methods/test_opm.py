"""OPM against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.opm import drop_rates, dropped_share
from mmbal.models.draws import uniform_by_row

Toy = Callable[..., Store]
DIMS = {"audio": 6, "video": 4}


def session(toy: Toy, dims: dict[str, int] = DIMS, **options: object) -> Session:
    choice = Choice(name="opm", p_exe=1.0, warm_up=0, **options)
    return Session(TrainConfig(data=str(toy(dims).path), method=choice, epochs=1, device="cpu"))


def loss(run: Session, rows: np.ndarray) -> torch.Tensor:
    batch = run.run.train.gather(rows)
    return run.method.losses(run.model(batch), batch, run.method.phases(run.run)[0], run.run)["fused"]


def test_rates_of_the_modality_ahead():
    # r = tanh(0.6 / 0.4 - 1) = tanh(0.5)
    found = drop_rates({"audio": 0.6, "video": 0.4}, q_base=0.5, strength=0.5)
    assert found == pytest.approx({"audio": 0.5 * (1 + 0.5 * math.tanh(0.5)), "video": 0.0})
    # others' means: 0.35 for a, 0.4 for b, 0.45 for c
    found = drop_rates({"a": 0.5, "b": 0.4, "c": 0.3}, q_base=0.4, strength=1.0)
    assert found == pytest.approx({"a": 0.4 * (1 + math.tanh(0.5 / 0.35 - 1)), "b": 0.0, "c": 0.0})


def test_ties_zeros_and_the_ceiling():
    assert drop_rates({"audio": 0.5, "video": 0.5}, 0.5, 0.5) == {"audio": 0.0, "video": 0.0}
    assert drop_rates({"audio": 0.5, "video": 0.0}, 0.5, 0.5) == {"audio": 0.75, "video": 0.0}
    assert drop_rates({"audio": 0.9, "video": 0.1}, 0.9, 2.0) == {"audio": 1.0, "video": 0.0}
    assert drop_rates({"audio": 0.9}, 0.5, 0.5) == {"audio": 0.0}


def test_theta_weighs_by_width():
    assert dropped_share({"audio": 0.5, "video": 0.0}, {"audio": 6, "video": 4}) == pytest.approx(0.3)


def test_the_loss_is_that_of_the_rows_and_features_that_are_left(toy: Toy):
    run = session(toy)
    rows = run.run.train.split_rows[:16]
    batch = run.run.train.gather(rows)
    output = run.model(batch)
    found = loss(run, rows)
    q = run.run.records["drop/audio"][0], run.run.records["drop/video"][0]
    assert min(q) == 0 < max(q)
    ahead = "audio" if q[0] > q[1] else "video"
    draw = uniform_by_row(f"opm.0.{ahead}", torch.arange(len(run.store)), len(run.store))
    theta = max(q) * run.model.fusion.dims[ahead] / sum(run.model.fusion.dims.values())
    logits = torch.zeros(16, 3)
    for i, row in enumerate(rows):
        for m in DIMS:
            z = output.features[m][i] * (0.0 if m == ahead and draw[row] < max(q) else 1.0) / (1 - theta)
            logits[i] += run.model.fusion.weight(m) @ z + run.model.fusion.bias(m)
    assert 0 < int((draw[rows] < max(q)).sum()) < 16
    assert torch.allclose(found, cross_entropy(logits, batch.labels), atol=1e-5)


def test_samples_that_lose_everything_are_left_out(toy: Toy):
    run = session(toy, q_base=1.0)
    rows = run.run.train.split_rows[:8]
    loss(run, rows)
    ahead = "audio" if run.run.records["drop/audio"][0] else "video"
    behind = ({*DIMS} - {ahead}).pop()
    batch = run.run.train.gather(rows)
    for i in range(5):
        batch.inputs[behind][i], batch.present[behind][i] = 0, False
    output = run.model(batch)
    found = run.method.losses(output, batch, run.method.phases(run.run)[0], run.run)["fused"]
    fusion = run.model.fusion
    theta = fusion.dims[ahead] / sum(fusion.dims.values())
    votes = output.features[behind] / (1 - theta) @ fusion.weight(behind).T + fusion.bias(behind) + fusion.bias(ahead)
    assert torch.allclose(found, cross_entropy(votes[5:], batch.labels[5:]), atol=1e-5)
    # Beside a process that keeps all of its 8 rows: 11 of 16 are left, and 3 of the 8 here, which weigh 8/16 later.
    run.run.share = 0.5
    run.run.reduce = lambda value: value + 8 if value.ndim == 0 else value
    share = run.method.losses(output, batch, run.method.phases(run.run)[0], run.run)["fused"]
    assert torch.allclose(8 / 16 * share, 3 / 11 * found, atol=1e-5)
    run.run.reduce, run.run.share = lambda value: value, 1.0
    batch.present[behind][:], batch.inputs[behind][:] = False, 0
    nothing = run.method.losses(run.model(batch), batch, run.method.phases(run.run)[0], run.run)["fused"]
    nothing.backward()
    assert torch.isfinite(nothing)


def test_a_share_of_a_batch_weighs_as_in_the_whole(toy: Toy):
    half, whole = session(toy), session(toy)
    rows = half.run.train.split_rows[:12]
    half.run.share, half.run.reduce = 0.5, lambda value: 2 * value  # another process with the same rows
    assert torch.allclose(loss(half, rows), loss(whole, np.concatenate([rows, rows])), atol=1e-6)


def test_nothing_is_dropped_in_warm_up_or_where_chance_says_no(toy: Toy):
    for options in ({"warm_up": 1}, {"p_exe": 0.0, "warm_up": 0}):
        choice = Choice(name="opm", **({"p_exe": 1.0} | options))
        run = Session(TrainConfig(data=str(toy(DIMS).path), method=choice, epochs=1, device="cpu"))
        rows = run.run.train.split_rows[:16]
        batch = run.run.train.gather(rows)
        assert torch.equal(loss(run, rows), cross_entropy(run.model(batch).fused, batch.labels))
