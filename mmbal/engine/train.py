"""Training from a configuration to a finished run folder; the same for every method, fusion and data set."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmbal.config import validate, write_yaml
from mmbal.engine.config import TrainConfig
from mmbal.engine.distributed import Lost
from mmbal.engine.saving import Saving
from mmbal.engine.session import Report, Session
from mmbal.engine.tracking import environment, new_run
from mmbal.errors import ConfigError, Interrupted, UsageError
from mmbal.files import locked, remove_temporaries, write_json
from mmbal.runs import (
    CONFIG,
    ENVIRONMENT,
    PRETRAIN,
    TRAIN,
    finished,
    forget_results,
    read_config,
    read_environment,
    read_summary,
    require_run,
)
from mmbal.torchrun import is_restarted, restarts


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and its summary (best epoch, validation and test figures, last epoch)."""

    folder: Path
    summary: dict[str, Any]


def train(
    config: TrainConfig,
    *,
    out: str | Path | None = None,
    force: bool = False,
    report: Report | None = None,
    saving: Saving = Saving(),  # noqa: B008, a constant
) -> Result:
    """Train as configured into a new run folder.

    ``report(1, line)`` is called after each epoch, and once with the number of epochs that an early stop leaves out.
    Raises Interrupted on Ctrl-C, SIGTERM or at the deadline of ``saving``, after saving; NotFinite where a number is not
    finite; UsageError, ConfigError or DataError for what can't be trained, UsageError where another process has the
    folder.
    """
    if out is None and restarts():
        raise UsageError(
            "torchrun is to start this training again where it fails, and its folder has no name.", "Give --out RUN."
        )
    session = Session(config, report=report, saving=saving)
    if out is not None and is_restarted() and _is_of(Path(out), session.config):
        return resume(out, report=report, saving=saving)
    name = f"{session.store.name}-{config.method.name}-{config.fusion.name}-s{config.seed}"
    with ExitStack() as stack:
        if session.processes.first:
            session.folder = stack.enter_context(new_run(None if out is None else Path(out), name, force))
            write_json(
                session.folder / ENVIRONMENT, environment(TRAIN, session.store, config.seed, str(session.device))
            )
            write_yaml(session.folder / CONFIG, session.config)  # the last, since it makes the folder a run
        session.folder = Path(session.processes.agree(str(session.folder)))
        return _guarded(session)


def resume(
    folder: str | Path,
    *,
    epochs: int | None = None,
    data: str | None = None,
    report: Report | None = None,
    saving: Saving = Saving(),  # noqa: B008, a constant
) -> Result:
    """Go on with an interrupted run to its original target, or to more ``epochs``; a finished run is left as it is.

    ``data`` says where the store is now, if it has moved. Raises ConfigError where the store is not the same any more.
    """
    folder = Path(folder)
    require_run(folder)
    config = validate(TrainConfig, read_config(folder), str(folder / CONFIG))
    kind = read_environment(folder)["kind"]
    if kind != TRAIN:
        way = f"Go on with: mmbal pretrain --resume {folder}" if kind == PRETRAIN else ""
        raise UsageError(f"{folder} was made by `mmbal {kind}`; only a run of `mmbal train` can be resumed.", way)
    if data is not None:
        config = config.model_copy(update={"data": data})
    if epochs is not None:
        if epochs < config.epochs:
            raise UsageError(f"{folder} is configured for {config.epochs} epochs; --epochs {epochs} is less.")
        config = config.model_copy(update={"epochs": epochs})
    if finished(folder) and (epochs is None or epochs <= read_summary(folder)["epochs"]):
        return Result(folder, read_summary(folder))
    session = Session(config, folder, report, saving)
    expected = read_environment(folder)["store"]["hash"]
    if session.store.hash != expected:
        raise ConfigError(
            f"The store {config.data} is not the one that {folder} was trained on.", "Say where that is: --data STORE."
        )
    with ExitStack() as stack:
        if session.processes.first:
            stack.enter_context(locked(folder))
            remove_temporaries(folder)
            write_yaml(folder / CONFIG, session.config)
            forget_results(folder)
        return _guarded(session, resume=True, extended=epochs is not None)


def _is_of(folder: Path, config: TrainConfig) -> bool:
    """Whether the folder has a run of this configuration."""
    return (folder / CONFIG).is_file() and validate(TrainConfig, read_config(folder), str(folder)) == config


def _guarded(session: Session, resume: bool = False, extended: bool = False) -> Result:
    assert session.folder is not None
    way = f"Go on with: mmbal train --resume {session.folder}"
    try:
        session.fit(resume, extended)
        left_out = session.config.epochs - len(session.history)
        if left_out:
            session.report(left_out, "")
        session.finish()
    except Lost as lost:
        done = f"everything up to epoch {len(session.history)} of {session.config.epochs} is saved"
        raise Lost(f"{lost.message[:-1]}; {done}.", way) from None
    except Interrupted as stopped:
        raise Interrupted(stopped.message, way) from None
    except KeyboardInterrupt:
        where = f"after epoch {len(session.history)} of {session.config.epochs}"
        raise Interrupted(f"Interrupted {where}; everything up to there is saved.", way) from None
    session.processes.wait()
    return Result(session.folder, read_summary(session.folder))
