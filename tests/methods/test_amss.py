"""AMSS against numbers worked out by hand; draws against their chances."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.amss import chosen_units, keep_rates, significance, unbiased_units

Toy = Callable[..., Store]


def session(toy: Toy, **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="amss", **choice), device="cpu"))


def test_significance_is_information_over_the_entropy_of_the_features():
    assert significance(1.1, 0.6, 4.0) == pytest.approx(1.0 / 4.0)
    assert significance(1.1, 2.0, 4.0) == 0.0


def test_the_less_significant_modality_learns_with_more_units():
    found = keep_rates({"a": 0.3, "v": 0.1}, temperature=0.2)
    # M = 2: the softmax of the other's significance over T
    odds = {"a": math.exp(0.1 / 0.2), "v": math.exp(0.3 / 0.2)}
    assert found == pytest.approx({m: x / sum(odds.values()) for m, x in odds.items()})
    assert keep_rates({"a": 9.0, "v": 0.0}, 0.2) == pytest.approx({"a": 0.1, "v": 0.9})
    assert keep_rates({"a": 0.2, "b": 0.2, "c": 0.2}, 0.2) == pytest.approx(dict.fromkeys("abc", 0.5))
    assert keep_rates({"a": 9.0, "v": 0.0}, 0.2, 1.0, 1.0) == {"a": 1.0, "v": 1.0}


def test_units_are_drawn_in_proportion_to_their_importance():
    torch.manual_seed(0)
    importance, draws = torch.tensor([1.0, 2.0, 5.0, 0.0]), 4000
    one = sum(chosen_units(importance, 1, torch.rand(4)) for _ in range(draws)) / draws
    assert one.tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8, 0.0], abs=0.03)
    two = sum(chosen_units(importance, 2, torch.rand(4)) for _ in range(draws)) / draws
    # Without replacement: P(first) + P(second): 1/8 (5/8 of the others first ...)
    p = [1 / 8, 2 / 8, 5 / 8]
    expected = [p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(3) if j != i) for i in range(3)]
    assert two.tolist() == pytest.approx([*expected, 0.0], abs=0.03)
    assert chosen_units(importance, 3, torch.rand(4)).tolist() == [1.0, 1.0, 1.0, 0.0]


def test_the_mean_of_the_unbiased_mask_is_one():
    torch.manual_seed(0)
    importance = torch.tensor([1.0, 2.0, 5.0, 0.0])
    # chances: 2 (1/8 + 1/4) / 2, 2 (2/8 + 1/4) / 2, 2 (5/8 + 1/4) / 2, 2 (1/4) / 2
    chance = [0.375, 0.5, 0.875, 0.25]
    seen = unbiased_units(importance, 2, torch.zeros(4))
    assert seen.tolist() == pytest.approx([1 / c for c in chance])
    mean = sum(unbiased_units(importance, 2, torch.rand(4)) for _ in range(4000)) / 4000
    assert mean.tolist() == pytest.approx([1.0] * 4, abs=0.12)


@pytest.mark.parametrize("scope", ["all", "conv"])
def test_a_share_of_the_units_of_each_weight_learns(toy: Toy, scope: str):
    made = session(toy, scope=scope)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    made.model.fusion.losses(output, batch.labels)["fused"].backward()
    before = {m: [p.grad.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    made.method.on_gradients(output, batch, made.method.phases(made.run)[0], made.run)
    for m, encoder in made.model.encoders.items():
        rate = made.run.records[f"rate/{m}"][0]
        assert 0.1 <= rate <= 0.9
        for old, parameter in zip(before[m], encoder.parameters(), strict=True):
            if parameter.dim() < 2 or scope == "conv":
                assert torch.equal(parameter.grad, old)
                continue
            kept = (parameter.grad != 0).any(dim=1)
            learning = int((old != 0).any(dim=1).sum())
            assert int(kept.sum()) == min(math.ceil(rate * len(kept)), learning)
            assert torch.equal(parameter.grad[kept], old[kept])


def test_rates_come_from_entropies_and_losses_of_the_batch(toy: Toy):
    made = session(toy)
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    labels = batch.labels.tolist()
    shares = [labels.count(c) / len(labels) for c in set(labels)]
    h_y = -sum(p * math.log(p) for p in shares)
    q = {}
    for m in ("audio", "video"):
        entropy = loss = 0.0
        for z, o, y in zip(output.features[m].tolist(), output.logits[m].tolist(), labels, strict=True):
            total = sum(math.exp(x) for x in z)
            entropy += sum(-math.exp(x) / total * math.log(math.exp(x) / total) for x in z) / len(labels)
            loss += (math.log(sum(math.exp(x) for x in o)) - o[y]) / len(labels)
        q[m] = max(0.0, h_y + 0.5 - loss) / entropy
    assert made.method.rates(output, batch, made.run) == pytest.approx(keep_rates(q, 0.2), rel=1e-4)
