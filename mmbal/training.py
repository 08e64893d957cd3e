"""Training as a user asks for it, from Python or the command line: a run, and the pages with its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmbal.cluster import Pool
from mmbal.config import read_yaml, validate
from mmbal.engine import pretrain as separate
from mmbal.engine import sweep as study
from mmbal.engine import train as engine
from mmbal.engine.config import TrainConfig
from mmbal.engine.saving import Saving
from mmbal.engine.session import Report
from mmbal.engine.study import Part, Study
from mmbal.engine.train import Result
from mmbal.progress import stage
from mmbal.report.pages import renew_pages
from mmbal.torchrun import is_first

Configuration = TrainConfig | Mapping[str, Any] | str | Path


def train(
    config: Configuration,
    *,
    out: str | Path | None = None,
    force: bool = False,
    report: Report | None = None,
    save_every: float | None = None,
    max_hours: float | None = None,
    pages: bool = True,
) -> Result:
    """Train as configured into a new run folder, and write its ``pages``: diagnosis.json, CARD.md and report.html.

    ``config``: a TrainConfig, a mapping of its keys (``{"data": "stores/clips"}``), or the path of a config.yaml.
    ``out``: the run folder, made of data, method, fusion and seed where not given; ``force`` replaces a run that is there.
    ``report(1, line)`` is called after each epoch, and once with the number of epochs that an early stop leaves out.
    ``save_every``: minutes between saves within an epoch, beside the save at its end. ``max_hours``: the run is saved and
    stopped before so many hours are over. Raises Interrupted where this, Ctrl-C or SIGTERM stops it, after saving;
    UsageError, ConfigError or DataError for what can't be trained; UsageError where another process has the folder.
    """
    saving = Saving.of(save_every, max_hours)
    return _with_pages(engine.train(_read(config), out=out, force=force, report=report, saving=saving), pages)


def resume(
    folder: str | Path,
    *,
    epochs: int | None = None,
    data: str | None = None,
    report: Report | None = None,
    save_every: float | None = None,
    max_hours: float | None = None,
    pages: bool = True,
) -> Result:
    """Go on with an interrupted run to its original target, or to more ``epochs``, and write its pages.

    ``data`` says where the store is now, if it has moved. Raises what :func:`train` raises, and ConfigError where the
    store is not the same any more.
    """
    saving = Saving.of(save_every, max_hours)
    return _with_pages(engine.resume(folder, epochs=epochs, data=data, report=report, saving=saving), pages)


def pretrain(
    config: Configuration,
    *,
    out: str | Path | None = None,
    force: bool = False,
    report: Report | None = None,
    save_every: float | None = None,
    max_hours: float | None = None,
    pages: bool = True,
) -> Result:
    """Train every modality alone, combine them as the unimodal ensemble, and write its pages.

    See :func:`mmbal.engine.pretrain.pretrain`. ``config`` is what :func:`train` takes; raises what it raises.
    """
    saving = Saving.of(save_every, max_hours)
    return _with_pages(separate.pretrain(_read(config), out=out, force=force, report=report, saving=saving), pages)


def resume_pretrain(
    folder: str | Path,
    *,
    report: Report | None = None,
    save_every: float | None = None,
    max_hours: float | None = None,
    pages: bool = True,
) -> Result:
    """Go on with a stopped pretraining, and write its pages. Raises what :func:`pretrain` raises."""
    return _with_pages(separate.resume(folder, report=report, saving=Saving.of(save_every, max_hours)), pages)


def sweep(
    plan: Study,
    out: Path,
    *,
    workers: int | Pool = 1,
    report: Report | None = None,
    part: Part | None = None,
    pages: bool = True,
    save_every: float | None = None,
    max_hours: float | None = None,
) -> dict[str, list[Path]]:
    """Train what is not finished of a study, with ``pages`` each run with its own; the run folders by data set.

    See :func:`mmbal.engine.sweep.sweep`. The pages of a run of small networks can take longer than its training.
    """
    saving = Saving.of(save_every, max_hours)
    after = renew_pages if pages else None
    return study.sweep(plan, out, workers=workers, report=report, part=part, after=after, saving=saving)


def _with_pages(result: Result, pages: bool) -> Result:
    """Of several processes under torchrun the first one writes."""
    if pages and is_first():
        with stage("Writing the pages"):
            renew_pages(result.folder)
    return result


def _read(config: Configuration) -> TrainConfig:
    """The configuration that is given; raises UsageError where there is no file, ConfigError for a wrong key or value."""
    if isinstance(config, TrainConfig):
        return config
    values = config if isinstance(config, Mapping) else read_yaml(Path(config))
    return validate(TrainConfig, {key: str(v) if isinstance(v, Path) else v for key, v in values.items()})
