"""LFM by hand: the polynomial, the divergence over pairs, and the loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.lfm import label_weight, modality_gap

Toy = Callable[..., Store]


def test_the_weight_of_the_labels_grows_with_the_epochs():
    assert label_weight(0.0) == pytest.approx(0.204623704)
    t, powers = 50.0, (0.204623704, 3.35472727e-3, 1.22989557e-4, -2.92947416e-6, 2.23835486e-8, -5.39717505e-11)
    expected = 0.0
    for power, c in enumerate(powers):  # a quarter of 200
        expected += c * t**power
    assert label_weight(0.25) == pytest.approx(expected)
    assert 0.9 < label_weight(1.0) < 0.92


def test_the_gap_is_the_mean_divergence_of_the_pairs_that_are_there():
    p = {"a": [0.9, 0.1], "b": [0.5, 0.5], "c": [0.2, 0.8]}
    logits = {m: torch.tensor([q, q, q]).log() for m, q in p.items()}
    present = {
        "a": torch.tensor([True, True, True]),
        "b": torch.tensor([True, True, False]),
        "c": torch.tensor([True, False, False]),
    }

    def kl(x: list[float], y: list[float]) -> float:
        return sum(i * math.log(i / j) for i, j in zip(x, y, strict=True))

    def js(x: list[float], y: list[float], backwards: bool = False) -> float:
        mean = [(i + j) / 2 for i, j in zip(x, y, strict=True)]
        return (kl(mean, x) + kl(mean, y)) / 2 if backwards else (kl(x, mean) + kl(y, mean)) / 2

    ab, ac, bc = js(p["a"], p["b"]), js(p["a"], p["c"]), js(p["b"], p["c"])
    assert modality_gap(logits, present).tolist() == pytest.approx([(ab + ac + bc) / 3, ab, 0.0], abs=1e-6)
    found = modality_gap({m: logits[m] for m in ("a", "b")}, {m: present[m] for m in ("a", "b")}, backwards=True)
    assert found[0].item() == pytest.approx(js(p["a"], p["b"], backwards=True), abs=1e-6)


def losses(toy: Toy, **options: object) -> tuple[Session, dict[str, torch.Tensor], torch.Tensor]:
    store = toy({"audio": 6, "text": 5, "video": 4})
    run = Session(TrainConfig(data=str(store.path), method=Choice(name="lfm", **options), epochs=10, device="cpu"))
    run.run.epoch = 3
    batch = next(run.run.train.epoch(0))
    output = run.method.fuse(run.model(batch))
    return run, run.method.losses(output, batch, run.method.phases(run.run)[0], run.run), batch


def test_the_loss_is_weighed_by_the_epoch(toy: Toy):
    run, found, batch = losses(toy)
    output, a = run.model(batch), label_weight(0.3)
    assert found["fused"].item() == pytest.approx(a * cross_entropy(output.fused, batch.labels).item(), rel=1e-5)
    apart = modality_gap(output.logits, output.present).mean().item()
    assert found["gap"].item() == pytest.approx((1 - a) * apart, rel=1e-5)


def test_the_public_code_s_loss(toy: Toy):
    run, found, batch = losses(toy, fused="mean", gap="reversed")
    output, a = run.model(batch), label_weight(0.3)
    mean = sum(output.logits.values()) / 3
    assert found["fused"].item() == pytest.approx(2 * a * cross_entropy(mean, batch.labels).item(), rel=1e-5)
    assert torch.allclose(run.method.predict(output).fused, mean, atol=1e-6)
    assert torch.equal(run.method.predict(output).logits["audio"], output.logits["audio"])
