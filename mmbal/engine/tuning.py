"""One training of a sweep and its record; and the trials by which a variant is tuned on the validation split."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmbal.config import validate
from mmbal.data.store.store import Store
from mmbal.engine.checkpoint import started_from
from mmbal.engine.config import TrainConfig, resolve
from mmbal.engine.finite import NotFinite
from mmbal.engine.results import RESULTS, Record, Results, record_of
from mmbal.engine.saving import Saving
from mmbal.engine.search import Dimension, Range, Search, best_of, curve_of, optuna_trial, propose, space_of
from mmbal.engine.study import Job, Study, job_of
from mmbal.engine.train import resume, train
from mmbal.errors import ConfigError, MmbalError
from mmbal.progress import portion
from mmbal.registry import methods
from mmbal.runs import CONFIG, finished, read_config

TRIALS = "search"  # folder of the trials, beside the runs of a data set


def check_space(study: Study, job: Job) -> None:
    """Raise ConfigError where the ends of a variant's space are no configuration."""
    assert study.search is not None
    space = _space(study.search, job)
    for end in (0, -1):
        params = {
            key: part.at(0.0 if end == 0 else 1.0) if isinstance(part, Range) else part[end]
            for key, part in space.items()
        }
        try:
            made = job_of(study, job.data, job.variant, study.search.seed, params, job.folder)
            resolve(made.config, Store.open(made.config.data), started_from(made.config))
        except MmbalError as error:
            raise type(error)(f"{job.data}, {job.variant}, search: {error.message}", error.hint) from None


def _space(search: Search, job: Job) -> dict[str, Dimension]:
    return dict(space_of(search, job.variant, methods.get(job.config.method.name).Config))


def tune(
    unit: tuple[str, str],
    study: Study,
    out: Path,
    known: Sequence[Record],
    saving: Saving = Saving(),  # noqa: B008, a constant
) -> tuple[Mapping[str, Any], list[str]]:
    """Run the trials of a variant on a data set that are not ``known``; what is best, and a line for each trial."""
    name, variant = unit
    search, results = study.search, Results(out / RESULTS)
    assert search is not None
    done, lines = list[Record](), list[str]()
    space = _space(search, job_of(study, name, variant, search.seed, {}, out))
    for number in range(search.trials):
        trial = optuna_trial(search, f"{name} {variant}", space, done) if search.sampler == "tpe" and number else None
        params = dict(trial.params) if trial is not None else propose(search, f"{name} {variant}", space, number)
        job = job_of(study, name, variant, search.seed, params, out / name / TRIALS / f"{variant}-t{number}")
        record = recorded(job, known, number)
        if record is None:
            watch = partial(_prune, trial, search) if trial is not None else None
            with portion(1 / search.trials):
                record = train_job(job, "trial", number, watch, saving)
            results.append(record)
            shutil.rmtree(job.folder)  # the record has all that is kept of a trial
        done.append(record)
        lines.append(line_of(record))
    best = best_of(search, done)
    return best.params if best is not None else {}, lines


class _Pruned(Exception):
    pass


def _prune(trial: Any, search: Search, record: Record) -> None:
    """Stop a trial that is behind the median of those before it."""
    values = curve_of(record, search.select)
    trial.report(values[-1], len(values) - 1)
    if trial.should_prune():
        raise _Pruned


def recorded(job: Job, known: Sequence[Record], number: int | None = None) -> Record | None:
    """The record of a run, or of a trial, that has ended; raises ConfigError where its configuration is another."""
    name = (job.data, job.variant, "run" if number is None else "trial", number or 0, job.config.seed)
    found = [r for r in known if (r.data, r.variant, r.kind, r.number, r.seed) == name]
    saved = [record.config for record in found]
    if (job.folder / CONFIG).is_file():
        saved.append(read_config(job.folder))
    if not saved:
        return None
    expected = resolve(job.config, Store.open(job.config.data), started_from(job.config))
    if any(validate(TrainConfig, config, str(job.folder)) != expected for config in saved):
        raise ConfigError(f"{job.folder} holds a run of another configuration.", "Take another --out, or remove it.")
    return next((r for r in found if number is not None or r.status == "diverged" or finished(job.folder)), None)


def train_job(
    job: Job,
    kind: str,
    number: int,
    watch: Callable[[Record], None] | None,
    saving: Saving = Saving(),  # noqa: B008, a constant
) -> Record:
    """Train, or go on, or take what is finished; ``watch`` sees the record after each epoch and may raise _Pruned."""
    known: dict[str, Any] = {
        "data": job.data,
        "variant": job.variant,
        "kind": kind,
        "number": number,
        "params": dict(job.params),
    }

    def report(steps: int, message: str) -> None:
        if watch is not None and steps and message:
            watch(record_of(job.folder, status="still improving", **known))

    try:
        if (job.folder / CONFIG).is_file():
            resume(job.folder, report=report, saving=saving)
        else:
            train(job.config, out=job.folder, report=report, saving=saving, force=True)
    except _Pruned:
        return record_of(job.folder, status="pruned", **known)
    except NotFinite as error:
        return record_of(job.folder, status="diverged", why=error.message, **known)
    return record_of(job.folder, **known)


def line_of(record: Record) -> str:
    what = f"seed {record.seed}" if record.kind == "run" else f"trial {record.number}"
    shown = record.figures.get("test") or record.figures.get("val")
    figure = f"{100 * shown['accuracy']:.1f} %" if shown else "no figures"
    mark = "" if record.converged else f" ({record.status})"
    return f"{record.data}, {record.variant}, {what}: {figure}{mark}"
