"""A study: every variant on every data set with every seed, under one budget; what is finished is not run again.

With a search, every variant is first tuned on the validation split with the same number of trials (mmbal/engine/search.py),
joint training and late fusion among them; the runs of the study then have what was best, with seeds of their own.
results.jsonl has a line for every run and every trial.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mmbal.cluster import Pool
from mmbal.engine.results import RESULTS, Record, Results
from mmbal.engine.saving import Saving
from mmbal.engine.session import Report
from mmbal.engine.study import Job, Part, Study, check, jobs
from mmbal.engine.tuning import check_space, line_of, recorded, train_job, tune
from mmbal.errors import Interrupted, UsageError
from mmbal.progress import listening, portion, reached
from mmbal.runs import finished
from mmbal.torchrun import is_shared

T = TypeVar("T")
R = TypeVar("R")

LOOK = 1.0  # seconds between two looks at how far the workers are
_done: Any = None  # in a worker: the share of each item that is done, which all workers write,
_stop: Any = None  # and the event that says that the sweep is stopped


def sweep(
    study: Study,
    out: Path,
    *,
    workers: int | Pool = 1,
    report: Report | None = None,
    part: Part | None = None,
    after: Callable[[Path], object] | None = None,
    saving: Saving = Saving(),  # noqa: B008, a constant
) -> dict[str, list[Path]]:
    """Run what is not finished yet, of all or of a ``part``; its run folders by data set, in the order of the study.

    A run that ended in a loss that is not finite is marked in results.jsonl, and has no folder here. ``workers``
    processes train side by side, or the tasks of a pool. ``after(folder)`` is called in them when a run of the study has
    ended, so it must be a module's function. Raises UsageError, ConfigError or DataError before anything runs where a
    variant can't be trained on a data set, or a folder holds a run of another configuration; Interrupted where Ctrl-C,
    SIGTERM or the deadline of ``saving`` stops it, after saving.
    """
    if is_shared():
        raise UsageError(
            "A sweep trains each run in one process.", "Start it without torchrun; --workers 2 trains two runs at once."
        )
    try:
        return _sweep(study, out, workers, report or (lambda steps, message: None), part, after, saving)
    except Interrupted as stopped:
        raise Interrupted(stopped.message, "The same command goes on.") from None
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; what is trained is saved.", "The same command goes on.") from None


def _sweep(
    study: Study,
    out: Path,
    workers: int | Pool,
    tell: Report,
    part: Part | None,
    after: Callable[[Path], object] | None,
    saving: Saving,
) -> dict[str, list[Path]]:
    results = Results(out / RESULTS)
    chosen: dict[tuple[str, str], Mapping[str, Any]] = {}
    if study.search is not None:
        with portion(study.search.trials / (study.search.trials + len(study.seeds))):
            chosen = _tuned(study, out, workers, tell, part, saving)
    planned, known = list(jobs(study, out, chosen)), results.read()
    if part is not None:  # with a search the runs of a variant stay with its trials
        tuned = [job for job in planned if (job.data, job.variant) in chosen]
        planned = part.take(planned) if study.search is None else tuned
    waiting = [job for job in planned if recorded(job, known) is None]
    if study.search is None:
        for job in {(job.data, job.variant): job for job in waiting}.values():
            check(job)
    tell(len(planned) - len(waiting), "")
    with portion(1.0):  # of what the search has left
        for record in _map(partial(_run, results=results, after=after, saving=saving), waiting, workers):
            tell(1, line_of(record))
    folders: dict[str, list[Path]] = {name: [] for name in study.data}
    for job in sorted(planned, key=lambda job: list(study.variants).index(job.variant)):
        if finished(job.folder):
            folders[job.data].append(job.folder)
    return folders


def _tuned(
    study: Study, out: Path, workers: int | Pool, tell: Report, part: Part | None, saving: Saving
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What the search chooses for each variant on each data set."""
    for job in {(job.data, job.variant): job for job in jobs(study, out)}.values():
        check(job)
        check_space(study, job)
    units = [(name, variant) for name in study.data for variant in study.variants]
    units = units if part is None else part.take(units)
    known, chosen = Results(out / RESULTS).read(), {}
    work = partial(tune, study=study, out=out, known=known, saving=saving)
    for unit, (params, lines) in zip(units, _map(work, units, workers), strict=True):
        chosen[unit] = params
        for line in lines:
            tell(1, line)
    return chosen


def _run(job: Job, results: Results, after: Callable[[Path], object] | None, saving: Saving) -> Record:
    record = train_job(job, "run", 0, None, saving)
    results.append(record)
    if after is not None and finished(job.folder):
        after(job.folder)
    return record


def _map(work: Callable[[T], R], items: Sequence[T], workers: int | Pool) -> Iterator[R]:
    """``work`` of each item, in their order, in ``workers`` processes or in a pool."""
    if not isinstance(workers, int):
        yield from _each(workers.map(work, items), len(items))
        return
    if workers == 1:
        yield from _each(map(work, items), len(items))
        return
    context = multiprocessing.get_context("spawn")
    done = context.Array("d", len(items), lock=False)  # the share of each item that is done
    stop = context.Event()  # no further item begins
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_as_worker, initargs=(done, stop)) as pool:
        try:
            for future in [pool.submit(_counted, work, item, number) for number, item in enumerate(items)]:
                while wait([future], timeout=LOOK).not_done:
                    reached(sum(done) / len(items))
                reached(sum(done) / len(items))
                yield future.result()
        except BaseException:
            stop.set()  # the pool has handed some items on, which it can't call back
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()  # the trainings save; with a second signal they end at once
            raise


def _as_worker(done: Any, stop: Any) -> None:
    """One thread, and its progress is counted in ``done``; Ctrl-C is for the first process, which then tells this one."""
    global _done, _stop
    import torch

    _done, _stop = done, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _counted(work: Callable[[T], R], item: T, number: int) -> R:
    """``work`` of an item in a worker, which tells what share of it is done."""
    if _stop.is_set():
        raise Interrupted("The sweep was stopped.")

    def hear(share: float) -> None:
        _done[number] = share

    with listening(hear):
        found = work(item)
    hear(1.0)
    return found


def _each(results: Iterator[R], n: int) -> Iterator[R]:
    """The results, each of which is one of ``n`` equal parts of the work."""
    for _ in range(n):
        with portion(1 / n):
            found = next(results)
        yield found
