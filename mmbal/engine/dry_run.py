"""What a run would be: its configuration, shapes and sizes, and how long it would take."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import torch

from mmbal.engine.config import TrainConfig
from mmbal.engine.learning import enter_training, learners, select_parts
from mmbal.engine.loop import forward
from mmbal.engine.session import Session
from mmbal.methods.base import parts


def dry_run(config: TrainConfig) -> dict[str, Any]:
    """What a run would be, without writing anything: resolved config, shapes, parameters, and the time of two batches."""
    session = Session(config)
    model, method, run, loader = session.model, session.method, session.run, session.run.train
    run.stage = method.stages(config.epochs)[0]
    modules = parts(model, method)
    select_parts(modules, run.stage, learners(modules))
    enter_training(model, modules)
    method.on_epoch_start(run)
    batches = loader.epoch(0, method.sampler(run))
    times = []
    for batch in islice(batches, 2):
        begun = time.monotonic()
        batch = method.on_batch(batch.to(session.device), run)
        for phase in method.phases(run):
            method.backward(forward(run, method, batch, phase, session.config)[1], run)
        times.append(time.monotonic() - begun)
    return {
        "config": session.config.model_dump(mode="json"),
        "shapes": {m: list(session.store.modalities[m].shape) for m in model.modalities},
        "features": {m: e.dim for m, e in model.encoders.items()},
        "parameters": {
            **{f"encoders.{m}": count(e) for m, e in model.encoders.items()},
            "fusion": count(model.fusion),
            "method": count(method),
        },
        "batches": len(loader),
        "seconds_per_batch": min(times),
        "seconds_estimated": min(times) * len(loader) * session.config.epochs,
    }


def count(module: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())
