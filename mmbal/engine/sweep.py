"""A study: every variant on every data set with every seed, under one budget; what is finished is not run again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from mmbal.config import Config, override, read_yaml, validate
from mmbal.data.store.store import Store
from mmbal.engine.config import TrainConfig, resolve
from mmbal.engine.session import Session, started_from
from mmbal.engine.train import Result, resume, train
from mmbal.errors import ConfigError, MmbalError
from mmbal.runs import CONFIG, finished, read_config


class Study(Config):
    """``data``: name -> keys of the training config, ``data`` (the store) among them; ``variants``: name -> keys.

    A run's configuration is ``base``, then the data set's keys, then the variant's (nested keys are merged).
    """

    data: dict[str, dict[str, Any]] = Field(min_length=1)
    variants: dict[str, dict[str, Any]] = Field(min_length=1)
    base: dict[str, Any] = {}
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)


@dataclass(frozen=True)
class Job:
    """One run of a study, and the folder where it is or will be."""

    data: str
    variant: str
    config: TrainConfig
    folder: Path


def read_study(path: Path) -> Study:
    """A study from YAML; paths of stores are relative to the current directory. Raises ConfigError or UsageError."""
    return validate(Study, read_yaml(path), str(path))


def jobs(study: Study, out: Path) -> Iterator[Job]:
    """All runs of a study, seed by seed, so that an interrupted study has whole rows; raises ConfigError for any bad key."""
    for seed in study.seeds:
        for name, data in study.data.items():
            for variant, changes in study.variants.items():
                values = merge(merge(merge({"method": {"name": "joint"}}, study.base), data), changes)
                config = validate(TrainConfig, override(values, [f"seed={seed}"]), f"{name}, {variant}")
                yield Job(name, variant, config, out / name / f"{variant}-s{seed}")


def sweep(
    study: Study,
    out: Path,
    *,
    workers: int = 1,
    report: Callable[[int, str], None] | None = None,
    after: Callable[[Path], object] | None = None,
) -> dict[str, list[Path]]:
    """Run what is not finished yet; the run folders by data set, in the order of the study.

    ``workers`` processes train side by side. ``after(folder)`` is called in them when a run has ended, so it must be a
    module's function. Raises UsageError, ConfigError or DataError before anything runs where a variant can't be trained
    on a data set, or a folder holds a run of another configuration.
    """
    planned = list(jobs(study, out))
    waiting = [job for job in planned if not _done(job)]
    for job in {(job.data, job.variant): job for job in waiting}.values():
        check(job)
    tell = report or (lambda steps, message: None)
    tell(len(planned) - len(waiting), "")
    if workers == 1:
        for job in waiting:
            tell(1, _line(job, _run(job, after)))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            for job, result in zip(waiting, pool.map(partial(_run, after=after), waiting), strict=True):
                tell(1, _line(job, result))
    folders: dict[str, list[Path]] = {}
    for job in sorted(planned, key=lambda job: list(study.variants).index(job.variant)):
        folders.setdefault(job.data, []).append(job.folder)
    return folders


def check(job: Job) -> None:
    """Set a run up as training does, without training it or writing anything; an error names the variant."""
    try:
        Session(job.config).method.stages(job.config.epochs)
    except MmbalError as error:
        raise type(error)(f"{job.data}, {job.variant}: {error.message}", error.hint) from None


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` on top; mappings are merged, unless they name another choice."""
    result = dict(base)
    for key, value in changes.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, dict) and value.get("name") in (None, inner.get("name")):
            value = merge(inner, value)
        result[key] = value
    return result


def _done(job: Job) -> bool:
    if not (job.folder / CONFIG).is_file():
        return False
    saved = validate(TrainConfig, read_config(job.folder), str(job.folder))
    if saved != resolve(job.config, Store.open(job.config.data), started_from(job.config)):
        raise ConfigError(f"{job.folder} holds a run of another configuration.", "Take another --out, or remove it.")
    return finished(job.folder)


def _run(job: Job, after: Callable[[Path], object] | None) -> Result:
    result = resume(job.folder) if (job.folder / CONFIG).is_file() else train(job.config, out=job.folder)
    if after is not None:
        after(result.folder)
    return result


def _line(job: Job, result: Result) -> str:
    figures = result.summary
    shown = figures.get("test", figures["val"])
    return f"{job.data}, {job.variant}, seed {job.config.seed}: {100 * shown['accuracy']:.1f} %"


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
