"""AUG against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.aug import behind, residual
from mmbal.methods.base import Phase

Toy = Callable[..., Store]
DIMS = {"audio": 6, "video": 4}


def session(toy: Toy, **changes: object) -> Session:
    options = {"heads": 3, "width": 8} | changes
    return Session(TrainConfig(data=str(toy(DIMS).path), method=Choice(name="aug", **options), epochs=10, device="cpu"))


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_what_the_earlier_heads_leave_of_the_truth():
    heads = torch.stack([logits_of([[0.5, 0.5], [0.9, 0.1]]), logits_of([[0.25, 0.75], [0.9, 0.1]])])
    labels = torch.tensor([0, 0])
    # 1 - 0.33 (0.5 + 0.25), 1 - 0.33 (0.9 + 0.9)
    assert residual(heads, labels, 0.33).tolist() == pytest.approx([0.7525, 0.406])
    assert residual(heads, labels, 1.0).tolist() == pytest.approx([0.25, 0.0])  # -0.8 is kept at zero
    # the ensemble: products 0.125 : 0.375 and 0.81 : 0.01
    assert residual(heads, labels, 0.5, "ensemble").tolist() == pytest.approx([1 - 0.125, 1 - 0.5 * 0.81 / 0.82])


def test_who_gets_one_more_head():
    assert behind({"audio": 0.6, "video": 0.5}, sigma=1.0, tau=0.01) == ["video"]
    assert behind({"audio": 0.6, "video": 0.595}, sigma=1.0, tau=0.01) == []
    assert behind({"audio": 0.6, "video": 0.6}, sigma=1.0, tau=0.0) == []
    assert behind({"audio": 0.6, "video": 0.5}, sigma=0.7, tau=0.01) == ["audio", "video"]  # 0.5 - 0.42, 0.6 - 0.35
    assert behind({"a": 0.6, "b": 0.5, "c": 0.4}, sigma=1.0, tau=0.15) == ["c"]
    assert behind({"audio": 0.1, "video": 0.095}, sigma=1.0, tau=0.01, rule="ratio") == ["video"]
    assert behind({"audio": 0.1, "video": 0.0}, sigma=1.0, tau=0.01, rule="ratio") == ["video"]
    assert behind({"audio": 0.1}, sigma=1.0, tau=0.01) == []


def test_the_losses_by_hand(toy: Toy):
    run = session(toy)
    method = run.method
    method.active[method.names.index("video")] = 3
    batch = next(run.run.train.epoch(0))
    batch.present["video"][:5] = False
    batch.inputs["video"][:5] = 0
    output = method.fuse(run.model(batch))
    found = method.losses(output, batch, Phase(run.model.modalities), run.run)
    assert set(found) == {"ensemble/audio", "ensemble/video", "earlier/video", "residual/video"}
    everything, earlier, left_over, rows = 0.0, 0.0, 0.0, 0
    for i in range(5, len(batch)):
        z, y = output.features["video"][i], int(batch.labels[i])
        heads = [method.last(method.hidden["video"][j](z).clamp(min=0)).detach() for j in range(3)]
        chance = [float(h.exp()[y] / h.exp().sum()) for h in heads]
        both, all_ = heads[0] + heads[1], heads[0] + heads[1] + heads[2]
        everything -= math.log(all_.exp()[y] / all_.exp().sum())
        earlier -= math.log(both.exp()[y] / both.exp().sum())
        left_over -= max(0.0, 1 - 0.33 * (chance[0] + chance[1])) * math.log(chance[2])
        rows += 1
    assert found["ensemble/video"].item() == pytest.approx(everything / rows, rel=1e-4)
    assert found["earlier/video"].item() == pytest.approx(earlier / rows, rel=1e-4)
    assert found["residual/video"].item() == pytest.approx(left_over / rows, rel=1e-4)
    assert torch.equal(output.fused[:5], output.logits["audio"][:5])


def test_a_new_head_learns_and_the_earlier_ones_are_not_its_target(toy: Toy):
    run = session(toy)
    method = run.method
    method.active[:] = 2
    batch = next(run.run.train.epoch(0))
    losses = method.losses(method.fuse(run.model(batch)), batch, Phase(run.model.modalities), run.run)
    first, second, third = method.hidden["audio"]
    found = torch.autograd.grad(
        losses["residual/audio"], [first.weight, second.weight], allow_unused=True, retain_graph=True
    )
    assert not found[0].any()
    assert found[1].abs().sum() > 0
    torch.stack(list(losses.values())).sum().backward()
    assert third.weight.grad is None


def test_heads_are_added_trained_and_kept(toy: Toy, tmp_path: Path):
    run = session(toy, every=1, tau=0.0)
    before = [layer.weight.clone() for layer in run.method.hidden["video"]]
    run.fit()
    counts = dict(zip(run.method.names, run.method.active.tolist(), strict=True))
    assert max(counts.values()) == 3  # and never more, over ten epochs
    assert [e["train"][f"heads/{m}"] for e in run.history[-1:] for m in run.method.names] == list(counts.values())
    for j, layer in enumerate(run.method.hidden["video"]):
        assert torch.equal(layer.weight, before[j]) == (j >= counts["video"])


def test_decision_weights(toy: Toy):
    run = session(toy, weights={"audio": 0.4, "video": 0.6})
    batch = next(run.run.train.epoch(0))
    output = run.method.fuse(run.model(batch))
    assert torch.allclose(output.fused, 0.4 * output.logits["audio"] + 0.6 * output.logits["video"])
    with pytest.raises(ConfigError, match="smell"):
        session(toy, weights={"smell": 1.0})
