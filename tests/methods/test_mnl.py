"""MNL by hand: who guides whom, the loss over the wrong classes, and the public code's terms."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.mnl import guides, negative_loss

Toy = Callable[..., Store]


def test_a_guide_is_ahead_in_probability_and_in_margin():
    # Class 0 is true; by the fused decision class 1 is the most likely wrong one.
    fused = torch.tensor([[1.0, 2.0, 0.0]] * 4)
    a = torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    b = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.9, 0.0, -9.0], [1.0, 0.0, 0.0]])
    # Row 0: a ahead in both. Row 1: a tie. Row 2: a has the larger margin (1 > .9), b the larger p (.71 > .42).
    present = {"a": torch.tensor([True] * 4), "b": torch.tensor([True, True, True, False])}
    found = guides({"a": a, "b": b}, fused, torch.zeros(4, dtype=torch.long), present)
    assert found["b"]["a"].tolist() == [True, False, False, False]
    assert found["a"]["b"].tolist() == [False] * 4


def test_the_loss_leaves_out_the_true_class():
    logits = torch.tensor([[math.log(2.0), math.log(1.0), math.log(1.0)]])  # p = .5 .25 .25
    guide = torch.tensor([[0.7, 0.2, 0.1]])
    expected = -(0.2 * math.log(0.25) + 0.1 * math.log(0.25))
    assert negative_loss(logits, guide, torch.tensor([0])).tolist() == pytest.approx([expected])
    expected = -(0.7 * math.log(0.5) + 0.1 * math.log(0.25))
    assert negative_loss(logits, guide, torch.tensor([1])).tolist() == pytest.approx([expected])


@pytest.mark.parametrize("terms", ["paper", "code"])
def test_the_losses_of_a_batch_of_three_modalities(toy: Toy, terms: str):
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="mnl", terms=terms, negative=0.5, own=0.25, warm_up=1)
    run = Session(TrainConfig(data=str(store.path), method=choice, epochs=3, device="cpu"))
    batch = next(run.run.train.epoch(0))
    batch.present["text"][:6] = False
    output = run.method.fuse(run.model(batch))
    phase = run.method.phases(run.run)[0]
    first = run.method.losses(output, batch, phase, run.run)
    assert set(first) == {"fused", "own/audio", "own/text", "own/video"}
    run.run.epoch = 1
    found = run.method.losses(output, batch, phase, run.run)
    names, count = run.model.modalities, 0
    expected = dict.fromkeys(names, 0.0)
    for i, y in enumerate(batch.labels.tolist()):
        have = [m for m in names if batch.present[m][i]]
        o = {m: output.logits[m][i].tolist() for m in have}
        p = {m: [math.exp(v) / sum(math.exp(w) for w in o[m]) for v in o[m]] for m in have}
        mean = [sum(o[m][k] for m in have) / len(have) for k in range(3)]
        j = max((k for k in range(3) if k != y), key=lambda k: mean[k])
        for n in have:
            by = [g for g in have if p[g][y] > p[n][y] and o[g][y] - o[g][j] > o[n][y] - o[n][j]]
            if by:
                count += 1
                q = [sum(p[g][k] for g in by) / len(by) for k in range(3)]
                loss = -0.5 * sum(q[k] * math.log(p[n][k]) for k in range(3) if k != y)
                expected[n] += loss if terms == "paper" else (loss - math.log(p[n][y])) / 3
    assert count > 10
    for n in names:
        assert found[f"negative/{n}"].item() == pytest.approx(expected[n] / len(batch), rel=1e-4)
    assert found["fused"].item() == pytest.approx(cross_entropy(output.fused, batch.labels).item())
    rows = batch.present["text"]
    own = cross_entropy(output.logits["text"][rows], batch.labels[rows]).item()
    assert found["own/text"].item() == pytest.approx(0.25 * own, rel=1e-5)


def test_a_guide_learns_nothing_from_guiding(toy: Toy):
    logits = {m: torch.randn(8, 3, requires_grad=True) for m in "ab"}
    guide = logits["a"].detach().softmax(dim=1)
    negative_loss(logits["b"], guide, torch.zeros(8, dtype=torch.long)).sum().backward()
    assert logits["a"].grad is None
    assert logits["b"].grad.abs().sum() > 0
