"""Learning rates by modality: the factors by hand, and that they reach the optimiser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.mslr import dynamic_rates

Toy = Callable[..., Store]
NAN = float("nan")


def config(toy: Toy, **choice: object) -> TrainConfig:
    store = toy({"audio": 6, "video": 4})
    optimiser = OptimiserConfig(lr=0.05, schedule="constant")
    return TrainConfig(
        data=str(store.path), method=Choice(name="mslr", **choice), epochs=4, optimiser=optimiser, device="cpu"
    )


def test_the_rate_follows_the_accuracy_once_enough_epochs_are_known():
    before = torch.tensor([[0.4, NAN, 0.0], [0.6, 0.5, 0.0]])
    found = dynamic_rates(torch.tensor([0.75, 0.9, 0.2]), before)
    assert found.tolist() == pytest.approx([1.5, 1.0, 1.0])
    assert dynamic_rates(torch.tensor([0.25]), torch.tensor([[0.4], [0.6]])).tolist() == pytest.approx([0.5])
    assert dynamic_rates(torch.tensor([NAN]), torch.tensor([[0.4]])).tolist() == [1.0]


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_rate_of_zero_stops_an_encoder_under_any_optimiser(toy: Toy, name: str):
    made = Session(
        config(toy, rates={"audio": 0.0}, dynamic=False).model_copy(update={"optimiser": OptimiserConfig(name=name)})
    )
    made.after_epoch = lambda run, state: True  # type: ignore[method-assign]
    before = {m: [p.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    made.fit()
    same = {
        m: all(torch.equal(a, p) for a, p in zip(before[m], e.parameters(), strict=True))
        for m, e in made.model.encoders.items()
    }
    assert same == {"audio": True, "video": False}
    rates = {g["part"]: g["lr"] for g in made.run.optimiser.param_groups}
    assert rates == pytest.approx({"encoders.audio": 0.0, "encoders.video": 0.02, "fusion": 0.02})


def test_the_accuracy_now_is_compared_with_those_before_and_kept(toy: Toy):
    made = Session(config(toy, memory=2, rates={"video": 1.5}))
    made.run.optimiser = torch.optim.SGD(
        [{"params": made.model.encoders[m].parameters(), "part": f"encoders.{m}"} for m in ("audio", "video")], lr=0.1
    )
    made.method.on_epoch_start(made.run)
    assert [g["lr"] for g in made.run.optimiser.param_groups] == pytest.approx([0.1, 0.15])
    made.method.accuracies.copy_(torch.tensor([[0.2, 0.6], [0.4, 0.2]]))
    made.run.epoch = 3
    made.method.on_epoch_start(made.run)
    batch = made.run.validation.gather(made.run.validation.split_rows)
    output = made.model.eval()(batch)
    now = {}
    for m, o in output.logits.items():
        right = [int(row.argmax()) == int(y) for row, y in zip(o, batch.labels, strict=True)]
        now[m] = sum(right) / len(right)
    expected = {"audio": now["audio"] / 0.3, "video": 1.5 * now["video"] / 0.4}
    assert {m: made.run.records[f"learning_rate_factor/{m}"][-1] for m in now} == pytest.approx(expected)
    assert made.method.accuracies.tolist() == [pytest.approx([0.4, 0.2]), pytest.approx([now["audio"], now["video"]])]


def test_an_unknown_modality_or_a_negative_rate_is_refused(toy: Toy):
    with pytest.raises(ConfigError, match="no modality 'vidio'"):
        Session(config(toy, rates={"vidio": 1.0}))
    with pytest.raises(ConfigError, match="is -1"):
        Session(config(toy, rates={"video": -1.0}))
