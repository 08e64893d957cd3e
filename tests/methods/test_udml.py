"""UDML by hand: the weights, the noise and its statement, and that evaluation is clean."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.udml import dependence, unbiased_weights

Toy = Callable[..., Store]


def test_the_weights_of_two_are_those_of_the_public_code():
    a, v, depend_a, depend_v = 1.5, 3.0, 4.0, 1.0
    target_a, target_v = 2 * v**2 / (v**2 + a**2), 2 * a**2 / (v**2 + a**2)
    raw_a, raw_v = target_a / depend_a, target_v / depend_v
    expected = [2 * raw_a / (raw_a + raw_v), 2 * raw_v / (raw_a + raw_v)]
    everyone = torch.ones(1, 2, dtype=torch.bool)
    found = unbiased_weights(torch.tensor([[a, v]]), torch.tensor([depend_a, depend_v]), everyone)
    assert found[0].tolist() == pytest.approx(expected)


def test_weights_have_mean_one_over_what_is_there():
    spread, depend = torch.tensor([[1.0, 2.0, 1.0]]), torch.tensor([1.0, 1.0, 2.0])
    # shares 1, 1/4, 1/2
    found = unbiased_weights(spread, depend, torch.tensor([[True, True, True]]))
    assert found[0].tolist() == pytest.approx([3 / 1.75, 0.75 / 1.75, 1.5 / 1.75])
    gone = unbiased_weights(spread, depend, torch.tensor([[False, True, True]]))
    assert gone[0].tolist() == pytest.approx([0.0, 0.5 / 0.75, 1.0 / 0.75])
    assert unbiased_weights(spread, depend, torch.tensor([[False, False, False]]))[0].tolist() == [0.0, 0.0, 0.0]


def test_dependence_is_the_mean_size_of_the_own_logits():
    logits = {"v": torch.tensor([[1.0, -2.0], [4.0, 0.0]]), "a": torch.tensor([[0.5, 0.5], [1.0, 1.0]])}
    present = {"v": torch.tensor([True, False]), "a": torch.tensor([True, True])}
    assert dependence(logits, present).tolist() == [[3.0, 2.0], [3.0, 1.0]]


def session(toy: Toy, **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="udml", **({"starts": 1} | options))
    return Session(TrainConfig(data=str(store.path), method=choice, epochs=4, device="cpu"))


def test_noise_has_the_strength_that_is_to_be_stated(toy: Toy):
    run = session(toy, noise=2.0)
    state, method = run.run, run.method
    batch = next(state.train.epoch(0))
    batch.present["text"][:4], batch.inputs["text"][:4] = False, 0
    clean = {m: x.clone() for m, x in batch.inputs.items()}
    assert method.on_batch(batch, state) is batch
    assert not any(level.any() for level in method.level.values())
    state.epoch = 1
    noisy = method.on_batch(batch, state)
    sizes = []
    for m, x in noisy.inputs.items():
        level = method.level[m]
        assert 0 < int((level == 0).sum()) < len(batch)
        assert float(level.max()) <= 2.0
        for i in range(len(batch)):
            added = x[i] - clean[m][i]
            if not batch.present[m][i] or level[i] == 0:
                assert not added.any()
            else:
                sizes += (added / level[i]).tolist()
    sizes = torch.tensor(sizes)
    assert sizes.std().item() == pytest.approx(1.0, abs=0.15)


def test_the_losses_and_the_weighted_features(toy: Toy):
    run = session(toy, gamma=0.5, eta=0.2)
    state, method, model = run.run, run.method, run.model
    state.epoch = 1
    torch.manual_seed(1)
    for head in method.heads.values():
        torch.nn.init.normal_(head.weight, std=0.1)
    method.depend[:] = torch.tensor([1.0, 2.0, 4.0])
    before = method.depend.clone()
    batch = next(state.train.epoch(0))
    batch.present["text"][:4], batch.inputs["text"][:4] = False, 0
    batch = method.on_batch(batch, state)
    features = method.on_features(model.encode(batch), batch, state)
    output = method.fuse(model.decide(features, batch.present))
    names, fusion = ("audio", "text", "video"), model.fusion
    stated = dict.fromkeys(names, 0.0)
    for i in range(len(batch)):
        s = {m: math.exp(float(method.heads[m](features[m][i]).detach()) / 2) for m in names}
        there = [m for m in names if batch.present[m][i]]
        share = {m: 1 / (s[m] ** 2 * float(before[names.index(m)])) for m in there}
        logits = fusion.shared_bias
        for m in there:
            w = len(there) * share[m] / sum(share.values())
            logits = logits + (1 + w) * (fusion.weights[m] @ features[m][i])
            stated[m] += (s[m] - 1 - float(method.level[m][i])) ** 2
        assert torch.allclose(output.fused[i], logits, atol=1e-4)
    found = method.losses(output, batch, method.phases(state)[0], state)
    for m in names:
        rows = batch.present[m]
        own = cross_entropy(output.logits[m][rows], batch.labels[rows]).item()
        assert found[f"own/{m}"].item() == pytest.approx(0.5 * own, rel=1e-4)
        assert found[f"stated/{m}"].item() == pytest.approx(0.2 * stated[m] / int(rows.sum()), rel=1e-3)
    for k, m in enumerate(names):
        size = output.logits[m].abs().sum(1)[batch.present[m]].mean().item()
        assert method.depend[k].item() == pytest.approx(0.9 * float(before[k]) + 0.1 * size, rel=1e-4)
    # What is stated is taught by the noise alone.
    gradient = torch.autograd.grad(found["fused"], method.heads["audio"].weight, allow_unused=True)
    assert gradient == (None,)


def test_heads_learn_to_state_the_noise(toy: Toy):
    store = toy({"audio": 40, "video": 40}, rows=400)
    choice = Choice(name="udml", starts=0, noise=4.0)
    run = Session(TrainConfig(data=str(store.path), method=choice, epochs=8, device="cpu"))
    run.fit()
    batch = run.method.on_batch(next(run.run.train.epoch(0)), run.run)
    stated = run.method.spread(run.model.encode(batch)).detach()
    for k, m in enumerate(("audio", "video")):
        together = torch.corrcoef(torch.stack([stated[:, k], run.method.level[m]]))[0, 1]
        assert together > 0.5
