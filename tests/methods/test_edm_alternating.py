"""Alternating training by Shapley values against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.base import Phase
from mmbal.methods.edm_alternating import equilibrium_deviation

Toy = Callable[..., Store]


def session(toy: Toy, dims: dict[str, int], **options: object) -> Session:
    choice = Choice(name="edm_alternating", **options)
    return Session(TrainConfig(data=str(toy(dims).path), method=choice, epochs=2, device="cpu"))


def test_the_deviation_is_zero_in_equilibrium_and_largest_where_one_is_worth_all():
    assert equilibrium_deviation({"audio": 0.4, "video": 0.4}) == 0.0
    assert equilibrium_deviation({"audio": 0.6, "video": 0.2}) == pytest.approx(0.25)  # shares 3/4, 1/4
    assert equilibrium_deviation({"a": 0.9, "b": 0.0, "c": 0.0}) == pytest.approx(math.sqrt(2) / 3)
    assert equilibrium_deviation({"audio": 0.6, "video": -0.2}) == pytest.approx(0.5)  # harm is worth nothing
    assert equilibrium_deviation({"audio": 0.0, "video": 0.0}) == 0.0


def test_the_order_is_weak_to_strong_by_exact_shapley_values(toy: Toy):
    run = session(toy, {"audio": 6, "text": 5, "video": 4})
    fusion = run.model.fusion
    run.method.on_epoch_start(run.run)
    batches = list(run.run.validation.epoch(0))
    run.model.eval()

    def value(members: str) -> float:
        right = rows = 0
        for batch in batches:
            output = run.model(batch)
            for i, label in enumerate(batch.labels.tolist()):
                vote = fusion.shared_bias.clone()
                for m in ("audio", "text", "video"):
                    if m[0] in members:
                        vote += fusion.weight(m) @ output.features[m][i]
                right += int(vote.argmax()) == label
                rows += 1
        return right / rows

    a, t, v, at, av, tv, atv = (value(s) for s in ("a", "t", "v", "at", "av", "tv", "atv"))
    expected = {
        "audio": a / 3 + (at - t + av - v) / 6 + (atv - tv) / 3,
        "text": t / 3 + (at - a + tv - v) / 6 + (atv - av) / 3,
        "video": v / 3 + (av - a + tv - t) / 6 + (atv - at) / 3,
    }
    found = {m: run.run.records[f"shapley/{m}"][0] for m in expected}
    assert found == pytest.approx(expected, abs=1e-6)
    assert sum(found.values()) == pytest.approx(atv)
    order = [phase.modalities for phase in run.method.phases(run.run)]
    assert order == [(m,) for m in sorted(expected, key=lambda m: (expected[m], m))]


def test_the_losses_of_a_step_by_hand(toy: Toy):
    run = session(toy, {"audio": 6, "video": 4}, fused=0.5, recall=0.3, align=0.2, temperature=0.5)
    method, fusion = run.method, run.model.fusion
    batch = next(run.run.train.epoch(0))
    batch.present["audio"][0], batch.inputs["audio"][0] = False, 0
    batch.present["video"][1], batch.inputs["video"][1] = False, 0
    output = run.model(batch)
    assert method.losses(output, batch, Phase(("video",)), run.run)["recall/video"].item() == 0.0  # nothing known yet
    found = method.losses(output, batch, Phase(("audio",)), run.run)
    labels = batch.labels.tolist()

    def surprise(logits: torch.Tensor, label: int) -> float:
        return math.log(float(sum(math.exp(x) for x in logits.tolist()))) - float(logits[label].detach())

    features = {m: z.detach() for m, z in output.features.items()}
    votes = {m: features[m] @ fusion.weight(m).detach().T + fusion.bias(m).detach() for m in features}
    with_audio = [i for i in range(len(labels)) if i != 0]
    own = sum(surprise(votes["audio"][i], labels[i]) for i in with_audio) / len(with_audio)
    fused = sum(surprise(votes["audio"][i] + votes["video"][i], y) for i, y in enumerate(labels)) / len(labels)
    memory = [
        sum(features["video"][i] for i, y in enumerate(labels) if y == c and i != 1)
        / sum(1 for i, y in enumerate(labels) if y == c and i != 1)
        for c in range(3)
    ]

    def cosine(x: torch.Tensor, y: torch.Tensor) -> float:
        x, y = method.map["audio"].weight.detach() @ x, method.map["video"].weight.detach() @ y
        return float(x @ y / (x.norm() * y.norm()))

    recalled = sum(
        surprise(torch.tensor([cosine(features["audio"][i], memory[c]) / 0.5 for c in range(3)]), labels[i])
        for i in with_audio
    ) / len(with_audio)
    both = [i for i in range(len(labels)) if i > 1]
    aligned = sum(1 - cosine(features["audio"][i], features["video"][i]) for i in both) / len(both)
    expected = {"own": own, "fused": 0.5 * fused, "recall": 0.3 * recalled, "align": 0.2 * aligned}
    assert {k: v.item() for k, v in found.items()} == pytest.approx(
        {f"{k}/audio": v for k, v in expected.items()}, rel=1e-4
    )
    torch.stack(list(found.values())).sum().backward()
    assert method.map["video"].weight.grad is None


def test_only_the_encoder_whose_turn_it_is_learns(toy: Toy):
    run = session(toy, {"audio": 6, "video": 4})
    batch = next(run.run.train.epoch(0))
    features = run.model.encode(batch, ("video",))
    losses = run.method.losses(run.model.decide(features, batch.present), batch, Phase(("video",)), run.run)
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is None for p in run.model.encoders["audio"].parameters())
    assert any(p.grad is not None for p in run.model.encoders["video"].parameters())


def test_a_batch_is_encoded_once_and_each_encoder_steps_by_its_own_gradient(toy: Toy):
    run = session(toy, {"audio": 6, "video": 4})
    method, model = run.method, run.model
    raw = next(run.run.train.epoch(0))
    batch = method.on_batch(raw, run.run)
    runs = [
        encoder.register_forward_pre_hook(lambda *_: pytest.fail("encoded again"))
        for encoder in model.encoders.values()
    ]
    first = model.encode(batch, ("audio",))
    assert first["audio"].requires_grad
    assert not first["video"].requires_grad
    (first["audio"].sum() * 3).backward()
    with torch.no_grad():
        for parameter in model.encoders["audio"].parameters():
            parameter.add_(1)  # audio's step
    second = model.encode(batch, ("video",))
    assert torch.equal(second["audio"], first["audio"])  # as before its step
    second["video"].sum().backward()
    for hook in runs:
        hook.remove()
    found = [p.grad for p in model.encoders["video"].parameters()]
    expected = torch.autograd.grad(model.encode(raw)["video"].sum(), list(model.encoders["video"].parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
