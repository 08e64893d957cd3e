"""BSS by hand: agreement, difficulty, the growing share, and who is let in."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.bss import agreement, difficulty, share

Toy = Callable[..., Store]


def cosine(p: list[float], q: list[float]) -> float:
    return sum(a * b for a, b in zip(p, q, strict=True)) / math.sqrt(sum(a * a for a in p) * sum(b * b for b in q))


def test_agreement_is_the_mean_cosine_of_the_pairs_that_are_there():
    p = {"a": [0.9, 0.1], "b": [0.5, 0.5], "c": [0.2, 0.8]}
    logits = {m: torch.tensor([q, q, q]).log() for m, q in p.items()}
    present = {m: torch.tensor([True, True, m == "a"]) for m in "ab"} | {"c": torch.tensor([True, False, False])}
    ab, ac, bc = cosine(p["a"], p["b"]), cosine(p["a"], p["c"]), cosine(p["b"], p["c"])
    assert agreement(logits, present).tolist() == pytest.approx([(ab + ac + bc) / 3, ab, 1.0])


def test_difficulty_is_disagreement_and_loss_each_scaled():
    found = difficulty(torch.tensor([1.0, 0.6, 0.8]), torch.tensor([0.5, 2.5, 0.5]))
    # 1 - (1, 0, .5) + (0, 1, 0)
    assert found.tolist() == pytest.approx([0.0, 2.0, 0.5])
    assert difficulty(torch.tensor([0.3, 0.3]), torch.tensor([1.0, 2.0])).diff().item() == pytest.approx(1.0)


def test_the_share_is_a_root_of_the_epochs():
    assert share(0, 40.0, 0.1) == pytest.approx(math.sqrt(0.99 / 40 + 0.01))
    assert share(19, 40.0, 0.1) == pytest.approx(math.sqrt(0.99 / 2 + 0.01))
    assert share(39, 40.0, 0.1) == share(80, 40.0, 0.1) == 1.0
    assert share(0, 0.0, 0.1) == 1.0


def session(toy: Toy, **options: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    choice = Choice(name="bss", **({"ramp": 1.0} | options))
    return Session(TrainConfig(data=str(store.path), method=choice, epochs=8, device="cpu"))


def test_the_easiest_rows_come_first(toy: Toy):
    run = session(toy)
    state, method = run.run, run.method
    method.on_epoch_start(state)
    rows = method.sampler(state)
    assert len(rows) == int(math.sqrt(0.99 / 8 + 0.01) * 80)
    scores = {}
    with torch.no_grad():
        for batch in state.train.epoch(0):
            output = run.model(batch)
            for i, row in enumerate(batch.index.tolist()):
                y = batch.labels[i]
                p = [output.logits[m][i].softmax(0).tolist() for m in ("audio", "video")]
                own = sum(float(cross_entropy(output.logits[m][i], y)) for m in ("audio", "video"))
                scores[row] = (cosine(*p), 0.1 * float(cross_entropy(output.fused[i], y)) + 0.9 * own)
    low, high = ([f(s[k] for s in scores.values()) for k in range(2)] for f in (min, max))
    hard = {
        row: 1 - (s[0] - low[0]) / (high[0] - low[0]) + (s[1] - low[1]) / (high[1] - low[1])
        for row, s in scores.items()
    }
    assert set(rows.tolist()) == set(sorted(hard, key=hard.__getitem__)[: len(rows)])


def test_scored_once_or_in_each_epoch(toy: Toy):
    for rescore in (True, False):
        run = session(toy, rescore=rescore)
        run.method.on_epoch_start(run.run)
        before = run.method.order.clone()
        with torch.no_grad():
            for p in run.model.encoders["video"].parameters():
                p.mul_(-2.0)
        run.run.epoch = 1
        run.method.on_epoch_start(run.run)
        assert torch.equal(before, run.method.order) == (not rescore)
    run.run.epoch = 7
    run.method.on_epoch_start(run.run)
    assert run.method.sampler(run.run) is None
