"""Early stopping by modality: the rule by hand, and that a stopped encoder is the best one and stays."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import resume, train
from mmbal.errors import Interrupted
from mmbal.methods.mses import progress

Toy = Callable[..., Store]
NAN = math.nan


def config(toy: Toy, epochs: int = 12, **choice: object) -> TrainConfig:
    optimiser = OptimiserConfig(lr=0.3, momentum=0.9, weight_decay=0.01, schedule="constant")
    return TrainConfig(
        data=str(toy({"audio": 6, "video": 4}).path),
        method=Choice(name="mses", **choice),
        epochs=epochs,
        optimiser=optimiser,
        device="cpu",
    )


def lowest_and_since(losses: list[float], smoothing: float = 0.0) -> list[tuple[float, int]]:
    last, lowest, since, found = torch.tensor([NAN]), torch.tensor([math.inf]), torch.tensor([0]), []
    for loss in losses:
        lowest, since = progress(torch.tensor([loss]), last, lowest, since, smoothing)
        last = torch.tensor([loss])
        found.append((round(float(lowest), 4), int(since)))
    return found


def test_the_epochs_since_the_lowest_loss_are_counted():
    assert lowest_and_since([3.0, 2.0, 2.5, 2.0, 1.5]) == [(3.0, 0), (2.0, 0), (2.0, 1), (2.0, 2), (1.5, 0)]
    # smoothed by 0.6 of the loss before (not of the smoothed one): 1.0, 1.4, 0.4 * 0.5 + 0.6 * 2 = 1.4, 0.7
    assert lowest_and_since([1.0, 2.0, 0.5, 1.0], 0.6) == [(1.0, 0), (1.0, 1), (1.0, 2), (0.7, 0)]
    assert lowest_and_since([1.0, NAN, 2.0])[:2] == [(1.0, 0), (1.0, 0)]


def test_a_stopped_encoder_is_the_best_one_and_moves_no_more(toy: Toy):
    states, lowest = [], dict.fromkeys(("audio", "video"), (math.inf, 0))

    class Watched(Session):
        def after_epoch(self, run, state):
            for place, m in enumerate(("audio", "video")):
                if float(self.method.lowest[place]) < lowest[m][0]:
                    lowest[m] = (float(self.method.lowest[place]), run.epoch)
            states.append({m: [p.clone() for p in e.parameters()] for m, e in self.model.encoders.items()})
            return False

    made = Watched(config(toy, patience=1))
    first = {m: [p.clone() for p in e.parameters()] for m, e in made.model.encoders.items()}
    made.fit()
    assert made.method.stopped.any()
    for place, m in enumerate(("audio", "video")):
        if made.method.stopped[place]:
            at = lowest[m][1]  # measured before this epoch, so it is the state after the one before
            best = first[m] if at == 0 else states[at - 1][m]
            assert all(torch.equal(a, p) for a, p in zip(best, made.model.encoders[m].parameters(), strict=True))


def test_a_stop_survives_a_resume_bit_for_bit(toy: Toy, tmp_path: Path):
    def stop(steps: int, message: str) -> None:
        if message.startswith("epoch 6"):
            raise KeyboardInterrupt

    whole = config(toy, epochs=9, patience=1)
    train(whole, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(whole, out=tmp_path / "parts", report=stop)
    resume(tmp_path / "parts")
    a, b = (torch.load(tmp_path / x / "last.pt", weights_only=True) for x in ("whole", "parts"))
    assert bool(a["method"]["stopped"].any())
    for part in ("model", "method"):
        for key, value in a[part].items():
            assert torch.allclose(value, b[part][key], rtol=0, atol=0, equal_nan=True), key
