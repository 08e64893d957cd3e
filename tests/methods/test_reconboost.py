"""ReconBoost by hand: the two terms of a turn, whose turn it is, and who learns in it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.reconboost import memory, reconcilement, turn

Toy = Callable[..., Store]


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_what_the_others_know_counts_less():
    own, others = logits_of([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]), logits_of([[0.9, 0.05, 0.05], [0.2, 0.2, 0.6]])
    labels = torch.tensor([0, 1])
    found = reconcilement(own, others, labels, w1=5.0, w2=1.0, per_class=True)
    # the public code: mean over 3 classes of -5 y log p + y q log p
    assert found.tolist() == pytest.approx([-(5 - 0.9) * math.log(0.5) / 3, -(5 - 0.2) * math.log(0.8) / 3])
    assert reconcilement(own, others, labels, 1.0, 0.5, False).tolist() == pytest.approx(
        [-(1 - 0.45) * math.log(0.5), -(1 - 0.1) * math.log(0.8)]
    )


def test_the_memory_has_a_gradient_for_the_learner_alone():
    own, previous = logits_of([[0.5, 0.5]]).requires_grad_(), logits_of([[0.9, 0.1]]).requires_grad_()
    found = memory(own, previous)
    assert found.tolist() == pytest.approx([(0.4**2 + 0.4**2) / 2])
    found.sum().backward()
    assert own.grad.abs().sum() > 0
    assert previous.grad is None


def test_turns_go_round_and_end_with_all():
    names = ("a", "b", "c")
    seen = [turn(epoch, 9, 1, names) for epoch in range(9)]
    everyone = (None, None)
    # from the end: all, c, all, b, all, a, all, c, all
    assert seen == [everyone, ("c", None), everyone, ("a", "c"), everyone, ("b", "a"), everyone, ("c", "b"), everyone]
    assert [turn(epoch, 8, 2, names)[0] for epoch in range(8)] == [None, None, None, None, "c", "c", None, None]
    assert [turn(epoch, 2, 1, names) for epoch in range(2)] == [everyone, everyone]
    assert [turn(epoch, 3, 1, names)[0] for epoch in range(3)] == [None, "c", None]
    assert turn(5, 9, 0, names) == everyone


def test_a_turn_trains_one_encoder_and_its_weights(toy: Toy):
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="reconboost", epochs=1, alpha=0.5)
    run = Session(TrainConfig(data=str(store.path), method=choice, epochs=9, device="cpu"))
    state, method, model = run.run, run.method, run.model
    state.epoch = 3
    (phase,) = method.phases(state)
    assert phase.modalities == ("audio",)
    batch = next(state.train.epoch(0))
    batch.present["audio"][:5], batch.inputs["audio"][:5] = False, 0
    batch.present["video"][:8], batch.inputs["video"][:8] = False, 0
    output = model.decide(model.encode(batch, phase.modalities), batch.present)
    losses = method.losses(output, batch, phase, state)
    boost = memory_term = 0.0
    for i in range(5, len(batch)):
        y = int(batch.labels[i])
        q = (output.logits["text"][i] + output.logits["video"][i]).detach().softmax(0)[y]
        p = output.logits["audio"][i].detach().softmax(0)
        boost -= float((5 - q) * p[y].log()) / 3
        if i >= 8:
            memory_term += float((p - output.logits["video"][i].detach().softmax(0)).square().mean())
    assert losses["boost/audio"].item() == pytest.approx(boost / (len(batch) - 5), rel=1e-4)
    assert losses["memory/audio"].item() == pytest.approx(0.5 * memory_term / (len(batch) - 8), rel=1e-4)
    method.backward(losses, state)
    assert all(p.grad is not None for p in model.encoders["audio"].parameters())
    for m in ("text", "video"):
        assert all(p.grad is None for p in model.encoders[m].parameters())
        assert model.fusion.weights[m].grad is None
