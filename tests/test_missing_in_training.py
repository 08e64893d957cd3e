"""Every method learns from samples that lack modalities, and from a batch that lacks one in all samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.registry import methods


@pytest.mark.parametrize("name", methods.names())
def test_missing_modalities_leave_every_figure_and_parameter_finite(name: str, toy: Callable[..., Store]):
    store = toy({"audio": 6, "text": 5, "video": 4}, rows=96)
    fusion = Choice(name=methods.entry(name).about.fusion or "concat")
    optimiser = OptimiserConfig(lr=0.05)
    config = TrainConfig(
        data=str(store.path), method=Choice(name=name), fusion=fusion, epochs=3, batch_size=8, optimiser=optimiser
    )
    made = Session(config.model_copy(update={"device": "cpu"}))
    # No sample of the first half of the training split has video, every third lacks audio, and none lacks all.
    present = {m: np.array(made.store.present[m]) for m in ("audio", "video")}
    train = made.store.rows("train")
    present["video"][train[: len(train) // 2]] = False
    present["audio"][::3] = False
    made.store.present.update(present)
    made.run.train.shuffle = False
    assert not next(made.run.train.epoch(0)).present["video"].any()
    figures: list[float] = []

    def watch(run, state):
        figures.extend(value for values in run.records.values() for value in values)
        return False

    made.after_epoch = watch  # type: ignore[method-assign]
    made.fit()
    assert np.isfinite(figures).all()
    assert all(bool(torch.isfinite(p).all()) for p in made.model.parameters())
    assert all(np.isfinite(x).all() for x in (made.decisions.on("test").fused, made.decisions.on("val").fused))
