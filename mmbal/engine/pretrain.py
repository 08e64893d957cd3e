"""Pretraining: one encoder and linear head per modality, trained alone; what each modality is capable of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmbal.config import write_yaml
from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import load_model, read_checkpoint
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Report, Session, about
from mmbal.engine.tracking import environment, new_run
from mmbal.engine.train import Result, train
from mmbal.files import write_json, write_tensors
from mmbal.runs import CHECKPOINT, CONFIG, ENVIRONMENT, PRETRAIN, SUMMARY


def pretrain(
    config: TrainConfig, *, out: str | Path | None = None, force: bool = False, report: Report | None = None
) -> Result:
    """Train every modality alone (a run each, in a sub-folder), and combine them as the unimodal ensemble.

    The folder is itself a run: its model sums the separately trained branches, its predictions hold each modality's
    own decision, so it can be diagnosed, calibrated and given as ``encoders_from``. ``config`` sets data, encoders and
    schedule; its method and fusion are replaced. Raises what :func:`mmbal.engine.train.train` raises.
    """
    store = Store.open(config.data)
    modalities = config.modalities or tuple(store.modalities)
    for m in modalities:
        store.require(m)
    alone = config.model_copy(update={"method": Choice(name="joint"), "fusion": Choice(name="sum")})
    with new_run(None if out is None else Path(out), f"{store.name}-pretrain-s{config.seed}", force) as folder:
        write_yaml(folder / CONFIG, alone)  # so that a killed run is one that --force may replace
        results: dict[str, Result] = {}
        for m in modalities:
            encoder = {m: config.encoder[m]} if m in config.encoder else {}
            own = alone.model_copy(update={"modalities": (m,), "encoder": encoder})
            results[m] = train(own, out=folder / m, report=report and about(m, report))
        return assemble(alone.model_copy(update={"modalities": modalities}), folder, results)


def assemble(config: TrainConfig, folder: Path, results: dict[str, Result]) -> Result:
    """The run folder of the ensemble whose branches are the given runs."""
    parts = {m: read_checkpoint(result.folder) for m, result in results.items()}
    encoder = {m: load_model(result.folder).config.encoder[m] for m, result in results.items()}
    joined = config.model_copy(update={"encoder": encoder, "method": Choice(name="unimodal")})
    session = Session(joined, folder)
    content: dict[str, Any] = {
        **parts[next(iter(parts))],
        "config": session.config.model_dump(mode="json"),
        "modalities": {m: part["modalities"][m] for m, part in parts.items()},
        "model": {key: value for part in parts.values() for key, value in part["model"].items()},
        "epoch": max(part["epoch"] for part in parts.values()),
    }
    write_tensors(folder / CHECKPOINT, content)
    write_yaml(folder / CONFIG, session.config)
    write_json(folder / ENVIRONMENT, environment(PRETRAIN, session.store, config.seed, str(session.device)))
    session.model.load_state_dict(content["model"])
    decided, _ = session.decide()
    figures = session.write(decided)
    summary = {
        "kind": PRETRAIN,
        "method": "unimodal",
        "fusion": "sum",
        "dataset": session.store.name,
        "seed": config.seed,
        "best_epoch": {m: result.summary["best_epoch"] for m, result in results.items()},
        "epochs": {m: result.summary["epochs"] for m, result in results.items()},
        **figures,
        "modalities": {m: {s: result.summary[s] for s in figures} for m, result in results.items()},
        "seconds": round(sum(result.summary["seconds"] for result in results.values()), 1),
    }
    write_json(folder / SUMMARY, summary)
    return Result(folder, summary)
