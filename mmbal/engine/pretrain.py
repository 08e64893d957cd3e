"""Pretraining: one encoder and linear head per modality, trained alone; what each modality is capable of."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from mmbal.config import validate, write_yaml
from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import load_model, read_checkpoint
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.distributed import Processes
from mmbal.engine.saving import Saving
from mmbal.engine.seeding import pick_device
from mmbal.engine.session import Report, Session, about
from mmbal.engine.tracking import environment, new_run
from mmbal.engine.train import Result, train
from mmbal.engine.train import resume as go_on
from mmbal.errors import Interrupted, UsageError
from mmbal.files import locked, write_json, write_tensors
from mmbal.progress import steps
from mmbal.runs import (
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    PRETRAIN,
    SUMMARY,
    finished,
    read_config,
    read_environment,
    read_summary,
    require_run,
)


def pretrain(
    config: TrainConfig,
    *,
    out: str | Path | None = None,
    force: bool = False,
    report: Report | None = None,
    saving: Saving = Saving(),  # noqa: B008, a constant
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
    alone = _alone(config, modalities)
    processes = Processes.start(pick_device(config.device))
    with ExitStack() as stack:
        folder = Path()
        if processes.first:
            name = f"{store.name}-pretrain-s{config.seed}"
            folder = stack.enter_context(new_run(None if out is None else Path(out), name, force))
            # So that a killed run is one that can be resumed, or replaced; the configuration makes it a run.
            write_json(folder / ENVIRONMENT, environment(PRETRAIN, store, config.seed, config.device))
            write_yaml(folder / CONFIG, alone)
        return _train_each(alone, Path(processes.agree(str(folder))), report, saving, processes)


def resume(
    folder: str | Path,
    *,
    report: Report | None = None,
    saving: Saving = Saving(),  # noqa: B008, a constant
) -> Result:
    """Go on with a stopped pretraining; a finished one is left as it is. Raises what :func:`pretrain` raises."""
    folder = require_run(folder)
    kind = read_environment(folder)["kind"]
    if kind != PRETRAIN:
        raise UsageError(f"{folder} was made by `mmbal {kind}`.", f"Go on with: mmbal {kind} --resume {folder}")
    if finished(folder):
        return Result(folder, read_summary(folder))
    config = validate(TrainConfig, read_config(folder), str(folder / CONFIG))
    processes = Processes.start(pick_device(config.device))
    with locked(folder) if processes.first else nullcontext():
        return _train_each(config, folder, report, saving, processes)


def _alone(config: TrainConfig, modalities: tuple[str, ...]) -> TrainConfig:
    """The same for these modalities, as they are trained alone."""
    encoder = {m: config.encoder[m] for m in modalities if m in config.encoder}
    plain = {"method": Choice(name="joint"), "fusion": Choice(name="sum")}
    return config.model_copy(update={"modalities": modalities, "encoder": encoder, **plain})


def _train_each(
    config: TrainConfig, folder: Path, report: Report | None, saving: Saving, processes: Processes
) -> Result:
    """Train the modalities alone that are not trained yet, and combine them."""
    assert config.modalities is not None
    way = f"Go on with: mmbal pretrain --resume {folder}"
    results: dict[str, Result] = {}
    try:
        for m in steps(config.modalities):
            told = report and about(m, report)
            if processes.agree((folder / m / CONFIG).is_file()):
                results[m] = go_on(folder / m, report=told, saving=saving)
            else:
                results[m] = train(_alone(config, (m,)), out=folder / m, report=told, saving=saving, force=True)
        found = assemble(config, folder, results)
        processes.wait()
        return found
    except Interrupted as stopped:
        raise Interrupted(f"{m}: {stopped.message}", way) from None
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; what is trained is saved.", way) from None


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
    if session.processes.first:
        write_tensors(folder / CHECKPOINT, content)
        write_yaml(folder / CONFIG, session.config)
        write_json(folder / ENVIRONMENT, environment(PRETRAIN, session.store, config.seed, str(session.device)))
    session.model.load_state_dict(content["model"])
    decided, _ = session.decisions.final()
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
    if session.processes.first:
        write_json(folder / SUMMARY, summary)
    return Result(folder, summary)
