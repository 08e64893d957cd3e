"""AGM against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.agm import modulation, responses

Toy = Callable[..., Store]


def session(toy: Toy, **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="agm", **choice), device="cpu"))


def test_two_responses_are_the_halves_of_the_paper_and_sum_to_the_logits():
    def head(z: dict[str, torch.Tensor]) -> torch.Tensor:
        return z["a"] * z["v"] + z["a"]  # not additive

    features = {"a": torch.tensor([[2.0, 3.0]]), "v": torch.tensor([[5.0, 1.0]])}
    empty = {"a": torch.tensor([[1.0, 1.0]]), "v": torch.tensor([[0.5, 0.0]])}
    # f(a,v) = 12, 6; f(0,v) = 6, 2; f(a,0) = 3, 3
    found = responses(head, features, empty)
    assert found["a"].tolist() == [[4.5, 3.5]]
    assert found["v"].tolist() == [[7.5, 2.5]]


def test_three_responses_are_those_of_all_orders():
    # f = a + 2 b + 4 c + a b c with zero for an empty input: each gets its own and a third of the product.
    def head(z: dict[str, torch.Tensor]) -> torch.Tensor:
        return z["a"] + 2 * z["b"] + 4 * z["c"] + z["a"] * z["b"] * z["c"]

    features = {m: torch.full((1, 1), value) for m, value in {"a": 1.0, "b": 2.0, "c": 3.0}.items()}
    empty = {m: torch.zeros(1, 1) for m in features}
    found = responses(head, features, empty)
    assert {m: float(phi) for m, phi in found.items()} == pytest.approx({"a": 3.0, "b": 6.0, "c": 14.0})


def test_the_factor_compares_the_ratio_of_losses_with_its_mean():
    found = modulation({"a": 0.5, "v": 1.5}, {"a": 0.8, "v": 1.2}, alpha=0.5)
    # a is ahead by exp(1), usually by exp(0.4): slowed; v the other way round
    assert found["a"] == pytest.approx(math.exp(0.5 * (math.exp(0.4) - math.exp(1.0))))
    assert found["v"] == pytest.approx(math.exp(0.5 * (math.exp(-0.4) - math.exp(-1.0))))
    assert found["a"] < 1 < found["v"]


def test_three_modalities_are_compared_with_their_mean_and_the_cap_holds():
    # mean 2: exponents 3/2 (2 - S_m) = 1.5, 0, -1.5; the running losses are equal: tau = 1
    found = modulation({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 1.0, "c": 1.0}, alpha=1.0)
    assert found["a"] == pytest.approx(math.exp(1 - math.exp(1.5)))
    assert found["b"] == pytest.approx(1.0)
    assert found["c"] == pytest.approx(math.exp(1 - math.exp(-1.5)))
    capped = modulation({"a": 1.0, "b": 1.0}, {"a": 0.0, "b": 9.0}, alpha=0.1, cap=7.0)
    assert capped["a"] == pytest.approx(math.exp(0.7))


@pytest.mark.parametrize("features", ["evaluation", "training"])
def test_encoders_are_scaled_and_the_running_mean_grows(toy: Toy, features: str):
    made = session(toy, alpha=1.0, features=features)
    batches = list(made.run.train.epoch(0))[:2]
    measured = []
    for batch in batches:
        made.model.zero_grad()
        output = made.model(batch)
        made.model.fusion.losses(output, batch.labels)["fused"].backward()
        before = {m: [p.grad.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
        head = [p.grad.clone() for p in made.model.fusion.parameters()]
        measured.append(made.method.measure(output, batch, made.run))
        made.method.on_gradients(output, batch, made.method.phases(made.run)[0], made.run)
        for m, encoder in made.model.encoders.items():
            factor = made.run.records[f"modulation/{m}"][-1]
            for old, parameter in zip(before[m], encoder.parameters(), strict=True):
                assert torch.allclose(parameter.grad, factor * old)
        assert all(torch.equal(a, p.grad) for a, p in zip(head, made.model.fusion.parameters(), strict=True))
    for place, m in enumerate(("audio", "video")):
        mean = sum(losses[m] for losses in measured) / 2
        assert float(made.method.running[place]) == pytest.approx(mean, rel=1e-5)
    # The first step has no mean to compare with: tau = 1.
    first = measured[0]
    assert made.run.records["modulation/audio"][0] == pytest.approx(
        math.exp(1 - math.exp(first["video"] - first["audio"])), rel=1e-5
    )


def test_measuring_leaves_every_module_in_its_mode(toy: Toy):
    made = session(toy)
    made.model.train()
    made.model.encoders["audio"].eval()
    batch = next(made.run.train.epoch(0))
    made.method.measure(made.model(batch), batch, made.run)
    assert not made.model.encoders["audio"].training
    assert made.model.encoders["video"].training


def test_a_missing_modality_counts_only_where_it_is(toy: Toy):
    made = session(toy)
    batch = next(made.run.train.epoch(0))
    batch.present["video"][1:] = False
    batch.inputs["video"][1:] = 0
    one = made.run.train.gather(batch.index[:1].numpy())
    found = made.method.measure(made.model(batch), batch, made.run)
    alone = made.method.measure(made.model(one), one, made.run)
    assert found["video"] == pytest.approx(alone["video"], rel=1e-4)
    batch.present["video"][:] = False
    assert set(made.method.measure(made.model(batch), batch, made.run)) == {"audio"}
