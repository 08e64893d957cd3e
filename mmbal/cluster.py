"""Tasks that run elsewhere: a pool, and one on Ray.

A pool is anything with the ``map`` of an executor: ``pool.map(work, items)`` gives the results in the order of the items.
A sweep, a preparation and an explanation take one where they take a number of processes.

    with cluster() as pool:
        sweep(study, out, workers=pool)

What tasks need is sent to them, the directory of the caller becomes theirs, and their exceptions come back. A task whose
process or machine is lost runs again, somewhere else.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar

from mmbal.errors import MmbalError, UsageError

T = TypeVar("T")
R = TypeVar("R")

RETRIES = 3  # of a task whose process or machine is lost
GRACE = 120.0  # seconds in which tasks that are told to stop may save
AHEAD = 2  # tasks in flight for each that can run, where the items are made one by one
ADDRESS = re.compile(r"auto|local|ray://\S+|[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+")


class Pool(Protocol):
    """Whatever runs tasks: an executor of ``concurrent.futures``, or a :class:`Cluster`."""

    def map(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """``work`` of each item, in their order."""
        ...


@dataclass(frozen=True)
class Cluster:
    """A pool on Ray, made by :func:`cluster`: CPUs and GPUs of each task, and how many tasks run at once.

    ``token`` is a file that every machine has to see, None where nothing is shared.
    """

    cpus: float
    gpus: float
    slots: int
    retries: int = RETRIES
    token: Path | None = None

    def map(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """``work`` of each item, in their order; of items that are no sequence, a few at a time are in flight.

        Raises what a task raised, and MmbalError where one is lost more often than ``retries`` times. The other tasks are
        then told to stop, as by Ctrl-C, and have time to save.
        """
        ray = _ray()
        task = ray.remote(_run).options(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=self.retries)
        place = _Place(os.getcwd(), _own_path(), max(1, int(self.cpus)), self.token)
        sent = ray.put(ray.cloudpickle.dumps(work))  # read in the task, where its modules are found by then
        most = len(items) if isinstance(items, Sequence) else AHEAD * self.slots
        waiting: deque[Any] = deque()
        left = iter(items)
        try:
            while True:
                for item in _first(left, most - len(waiting)):
                    waiting.append(task.remote(place, sent, item))
                if not waiting:
                    return
                found = self._result(waiting[0])
                waiting.popleft()
                yield found
        except BaseException:
            for one in waiting:
                ray.cancel(one)
            if waiting:
                ray.wait(list(waiting), num_returns=len(waiting), timeout=GRACE)
            raise

    def _result(self, task: Any) -> Any:
        from ray import exceptions, get

        try:
            return get(task)
        except exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, Exception) and not isinstance(cause, exceptions.RayError):
                raise cause from error
            raise
        except exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            raise MmbalError(
                f"Ray lost a task {self.retries + 1} times ({type(error).__name__}: {first})",
                "What is finished is kept; the same command goes on.",
            ) from error


def _first(items: Iterator[T], most: int) -> Iterator[T]:
    """At most so many of the items; unlike `islice`, none where ``most`` is negative."""
    for _ in range(most):
        try:
            yield next(items)
        except StopIteration:
            return


@dataclass(frozen=True)
class _Place:
    """What a task finds where it runs: the directory, the number of threads and what it has to see."""

    directory: str
    path: tuple[str, ...]
    threads: int
    token: Path | None

    def enter(self) -> None:
        """Raises UsageError where this machine does not see what the caller sees."""
        try:
            os.chdir(self.directory)
            if self.token is not None:
                os.stat(self.token)
        except OSError as error:
            import socket

            raise UsageError(
                f"The machine {socket.gethostname()} of the Ray cluster does not see {error.filename}.",
                "Put data and runs into a folder that all machines share under one path, and call mmbal from there.",
            ) from None
        sys.path.extend(path for path in self.path if path not in sys.path)


def _run(place: _Place, sent: bytes, item: Any) -> Any:
    place.enter()
    work = _work(sent)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(place.threads)
    return work(item)


@lru_cache(1)
def _work(sent: bytes) -> Callable[[Any], Any]:
    """The work that the caller sent, made once in each process: it may hold a model. No file is read."""
    return pickle.loads(sent)  # type: ignore[no-any-return]


def _own_path() -> tuple[str, ...]:
    """Where this process finds modules, but for what is installed."""
    return tuple(path for path in sys.path if path and not path.startswith((sys.prefix, sys.base_prefix)))


@contextmanager
def cluster(
    address: str | None = None,
    *,
    cpus: float = 1,
    gpus: float | None = None,
    retries: int = RETRIES,
    shared: Path | None = None,
) -> Iterator[Cluster]:
    """A pool on Ray for the block.

    ``address`` is HOST:PORT of a cluster, ``auto`` for the one that runs here, or ``local`` for one that is started on this
    machine and ends with the block. Where it is not given, ``RAY_ADDRESS`` names it, or else the one that runs here is
    taken, or else one is started. Each task gets ``cpus``, with a thread for each, and ``gpus``, which may be a fraction;
    None is one GPU where the cluster has any. Every machine has to see ``shared``, a folder or one that is to be made.
    Raises UsageError where Ray is not installed or not reached, or where no machine has what a task needs.
    """
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise UsageError(f"A task can't have {gpus:g} GPUs.", "Give a whole number, or a fraction below 1.")
    ray = _ray()
    with ExitStack() as stack:
        if not ray.is_initialized():
            _connect(ray, address or None)
            stack.callback(ray.shutdown)
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = float(any(machine.get("GPU", 0) >= 1 for machine in machines)) if gpus is None else gpus
        slots = sum(_fitting(machine, cpus, gpus) for machine in machines)
        if not slots:
            raise UsageError(
                f"No machine of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs, which each task is to have.",
                "See `ray status`. Lower --task-cpus or --task-gpus, or add a machine.",
            )
        yield Cluster(cpus, gpus, slots, retries, None if shared is None else stack.enter_context(_token(shared)))


def _fitting(machine: dict[str, float], cpus: float, gpus: float) -> int:
    """The tasks that a machine can run at once."""
    parts = [machine.get(kind, 0) / needed for kind, needed in (("CPU", cpus), ("GPU", gpus)) if needed]
    return int(min(parts, default=1))


@contextmanager
def _token(shared: Path) -> Iterator[Path]:
    """A file beside or above ``shared``, in the nearest folder that exists; it goes when the block ends."""
    folder = shared.resolve()
    while not folder.is_dir():
        folder = folder.parent
    token = folder / f".{os.urandom(8).hex()}.shared.tmp"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers of the use
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--ray needs the package ray.", "Install it on every machine: pip install 'mmbal[ray]'."
        ) from None
    return ray  # type: ignore[no-any-return]


def _connect(ray: ModuleType, address: str | None) -> None:
    """Connect to Ray, or start it; what this process does on SIGTERM stays as it is."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    own = _own_path()
    try:
        ray.init(
            address,
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(own)}} if own else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"Ray can't be reached at '{address}' ({first})", "Start it: ray start --head") from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
