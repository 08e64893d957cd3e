"""MILES against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.miles import rate_factors, utilisation

Toy = Callable[..., Store]


def test_utilisation_is_the_share_of_accuracy_that_is_lost():
    assert utilisation(0.8, torch.tensor([0.2, 0.6])).tolist() == pytest.approx([0.75, 0.25])
    assert utilisation(0.5, torch.tensor([0.6])).tolist() == pytest.approx([-0.2])
    assert utilisation(0.0, torch.tensor([0.0, 0.1])).tolist() == [0.0, 0.0]


def test_only_the_over_used_modality_is_slowed():
    assert rate_factors(torch.tensor([0.75, 0.25]), 0.2, 0.5).tolist() == [0.5, 1.0]
    assert rate_factors(torch.tensor([0.75, 0.25]), 0.6, 0.5).tolist() == [1.0, 1.0]
    # the others' means: 0.15, 0.45, 0.4
    assert rate_factors(torch.tensor([0.7, 0.1, 0.2]), 0.2, 0.3).tolist() == pytest.approx([0.3, 1.0, 1.0])


def test_the_measured_utilisation_sets_the_learning_rates(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    made = Session(TrainConfig(data=str(store.path), method=Choice(name="miles", tau=0.0, mu=0.25), device="cpu"))
    made.after_epoch = lambda run, state: run.epoch == 2  # type: ignore[method-assign]
    made.fit()
    parts = [{"params": e.parameters(), "part": f"encoders.{m}"} for m, e in made.model.encoders.items()]
    made.run.optimiser = torch.optim.SGD(parts, lr=0.1)
    made.method.on_epoch_start(made.run)
    batch = made.run.validation.gather(made.run.validation.split_rows)
    z = {m: e.eval()(batch.inputs[m]) for m, e in made.model.encoders.items()}

    def accuracy(*kept: str) -> float:
        logits = sum(made.model.fusion.part(m, z[m] if m in kept else torch.zeros_like(z[m])) for m in z)
        right = [int(row.argmax()) == int(y) for row, y in zip(logits, batch.labels, strict=True)]
        return sum(right) / len(right)

    whole = accuracy("audio", "video")
    used = {"audio": 1 - accuracy("video") / whole, "video": 1 - accuracy("audio") / whole}
    found = {m: made.run.records[f"utilisation/{m}"][-1] for m in used}
    assert found == pytest.approx(used, abs=1e-6)
    ahead = max(used, key=used.get)
    rates = {g["part"]: g["lr"] for g in made.run.optimiser.param_groups}
    assert rates == pytest.approx({f"encoders.{m}": 0.025 if m == ahead else 0.1 for m in used})
