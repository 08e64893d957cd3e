"""Options of the commands whose tasks may run elsewhere: on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import console
from mmbal.cluster import Cluster, cluster
from mmbal.errors import UsageError
from mmbal.text import plural

PANEL = "On a Ray cluster"

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Run the tasks on Ray: a cluster's HOST:PORT, auto or local. Without ADDRESS: RAY_ADDRESS, else the cluster "
        "that runs here, else one that is started.",
        rich_help_panel=PANEL,
    ),
]
TaskCpus = Annotated[
    float | None, typer.Option(min=0.01, help="With --ray: CPUs of each task. Default: 1.", rich_help_panel=PANEL)
]
TaskGpus = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="With --ray: GPUs of each task, such as 0.25. Default: 1 where the cluster has any.",
        rich_help_panel=PANEL,
    ),
]


@contextmanager
def pool_of(
    ray: str | None, cpus: float | None, gpus: float | None, *, workers: int | None = None, shared: Path | None = None
) -> Iterator[Cluster | None]:
    """The pool that the options name, None without --ray; raises UsageError for options that do not go together."""
    if ray is None:
        for name, value in (("--task-cpus", cpus), ("--task-gpus", gpus)):
            if value is not None:
                raise UsageError(f"{name} needs --ray.", "Without it the tasks run in processes of this machine.")
        yield None
        return
    if workers is not None:
        raise UsageError("--workers and --ray exclude each other.", "The cluster says how many tasks run at once.")
    with cluster(ray, cpus=cpus or 1, gpus=gpus, shared=shared) as pool:
        console.note(
            f"Ray: up to {plural(pool.slots, 'task')} at once, each with {pool.cpus:g} CPUs and {pool.gpus:g} GPUs."
        )
        yield pool
