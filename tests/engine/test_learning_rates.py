"""Learning rates by part: the groups of the optimiser, and that a factor lasts one epoch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mmbal.data.store.store import Store
from mmbal.engine.config import OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.base import Run
from mmbal.methods.joint import Joint


def test_a_method_scales_the_rate_of_a_part_in_one_epoch(toy: Callable[..., Store]):
    class Slowed(Joint):
        def on_epoch_start(self, run: Run) -> None:
            if run.epoch == 1:
                run.scale_learning_rate("encoders.audio", 0.5)
                run.scale_learning_rate("encoders.audio", 0.5)

    store = toy({"audio": 6, "video": 4})
    optimiser = OptimiserConfig(lr=0.1, schedule="step", step_epochs=2, gamma=0.5)
    made = Session(TrainConfig(data=str(store.path), epochs=3, optimiser=optimiser, device="cpu"))
    made.method = Slowed(made.model)
    seen = []

    def watch(run, state):
        seen.append({g["part"]: g["lr"] for g in run.optimiser.param_groups})
        return False

    made.after_epoch = watch  # type: ignore[method-assign]
    made.fit()
    parts = ("encoders.audio", "encoders.video", "fusion")
    assert seen[0] == pytest.approx(dict.fromkeys(parts, 0.1))
    assert seen[1] == pytest.approx({"encoders.audio": 0.025, "encoders.video": 0.1, "fusion": 0.1})
    assert seen[2] == pytest.approx(dict.fromkeys(parts, 0.05))


def test_a_rate_can_be_scaled_before_there_is_an_optimiser(toy: Callable[..., Store]):
    made = Session(TrainConfig(data=str(toy({"audio": 6, "video": 4}).path), device="cpu"))
    made.run.scale_learning_rate("encoders.audio", 0.5)  # as in a dry run
