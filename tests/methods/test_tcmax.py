"""TCMax by hand: the sum over all combinations, its short form, and missing modalities."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.tcmax import total_correlation_loss

Toy = Callable[..., Store]


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_partition_runs_over_all_combinations_and_classes(modalities: int):
    torch.manual_seed(0)
    rows, classes = 4, 3
    logits = {f"m{k}": torch.randn(rows, classes) for k in range(modalities)}
    labels = torch.tensor([0, 2, 1, 1])
    present = {m: torch.ones(rows, dtype=torch.bool) for m in logits}
    partition = 0.0
    for combination in product(range(rows), repeat=modalities):
        for c in range(classes):
            partition += math.exp(sum(float(o[j, c]) for j, o in zip(combination, logits.values(), strict=True)))
    truth = [sum(float(o[i, labels[i]]) for o in logits.values()) for i in range(rows)]
    loss = -sum(t - math.log(partition) for t in truth) / rows
    found = total_correlation_loss(logits, labels, present).item()
    assert found == pytest.approx(loss - modalities * math.log(rows) - math.log(classes), rel=1e-5)
    code = total_correlation_loss(logits, labels, present, constant="code").item()
    assert code == pytest.approx(loss - math.log(rows), rel=1e-5)


def test_a_decision_that_says_nothing_costs_nothing():
    logits = {m: torch.full((5, 4), 0.7) for m in ("a", "b", "c")}
    present = {m: torch.ones(5, dtype=torch.bool) for m in logits}
    assert total_correlation_loss(logits, torch.zeros(5, dtype=torch.long), present).item() == pytest.approx(
        0, abs=1e-6
    )


def test_an_absent_modality_adds_nothing_and_is_not_averaged_over():
    a, b = torch.randn(3, 2), torch.randn(3, 2)
    labels = torch.tensor([0, 1, 1])
    present = {"a": torch.tensor([True, True, True]), "b": torch.tensor([True, False, True])}
    partition = sum(
        math.exp(float(a[i, c] + b[j, c])) / (3 * 2 * 2) for i in range(3) for j in (0, 2) for c in range(2)
    )
    truth = [float(a[i, labels[i]]) + (float(b[i, labels[i]]) if i != 1 else 0.0) for i in range(3)]
    found = total_correlation_loss({"a": a, "b": b}, labels, present).item()
    assert found == pytest.approx(math.log(partition) - sum(truth) / 3, rel=1e-5)
    gone = {"a": present["a"], "b": torch.zeros(3, dtype=torch.bool)}
    alone = total_correlation_loss({"a": a}, labels, {"a": present["a"]})
    assert torch.allclose(total_correlation_loss({"a": a, "b": b}, labels, gone), alone)


def test_a_share_of_it_beside_the_cross_entropy(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    run = Session(TrainConfig(data=str(store.path), method=Choice(name="tcmax", share=0.25), device="cpu"))
    batch = next(run.run.train.epoch(0))
    output = run.model(batch)
    found = run.method.losses(output, batch, run.method.phases(run.run)[0], run.run)
    assert found["fused"].item() == pytest.approx(0.75 * cross_entropy(output.fused, batch.labels).item(), rel=1e-5)
    whole = total_correlation_loss(output.contribution, batch.labels, output.present).item()
    assert found["correlation"].item() == pytest.approx(0.25 * whole, rel=1e-4)
