"""`mmbal sweep`: a study from one YAML file, resumable, ending in a table for each data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import console
from mmbal.cli.elsewhere import Ray, TaskCpus, TaskGpus, pool_of
from mmbal.cli.options import Json, MaxHours, Pages, SaveEvery
from mmbal.cli.progress import working
from mmbal.cli.report import show
from mmbal.progress import steps
from mmbal.text import plural


def sweep(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A YAML file with data, variants, base and seeds; see examples/.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the runs. Default: runs/<name of the file>.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs trained side by side, one thread each. Default: one.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Train only the I-th of N parts; several commands share a folder so."),
    ] = None,
    ray: Ray = None,
    task_cpus: TaskCpus = None,
    task_gpus: TaskGpus = None,
    save_every: SaveEvery = None,
    max_hours: MaxHours = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of each comparison.")] = 1000,
    data: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this data set of the study. Repeatable.")
    ] = None,
    pages: Pages = True,
    tables: Annotated[bool, typer.Option(help="Diagnose the runs at the end, and print the tables.")] = True,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Train every variant on every data set with every seed, and compare them with the first variant.

    With `search:` in the file, every variant is tuned first, on the validation split and with the same number of trials.
    A study that was stopped goes on where it was; finished runs are not run again. results.jsonl has a line for each.
    """
    from mmbal.engine.results import RESULTS, Results
    from mmbal.engine.study import Part, count, read_study
    from mmbal.report import render
    from mmbal.report.compare import compare
    from mmbal.training import sweep as run

    plan = read_study(study).only(data or [])
    folder = out or Path("runs") / study.stem
    mine = None if part is None else Part.of(part)
    with (
        pool_of(ray, task_cpus, task_gpus, workers=workers, shared=folder) as pool,
        working(plural(count(plan), "training") + (f", part {part}" if part else "")) as report,
    ):
        folders = run(
            plan,
            folder,
            workers=pool or workers or 1,
            report=report,
            part=mine,
            pages=pages,
            save_every=save_every,
            max_hours=max_hours,
        )
    odd = [r for r in Results(folder / RESULTS).read() if r.kind == "run" and not r.converged]
    for record in odd:
        console.note(
            f"{record.data}, {record.variant}, seed {record.seed} did not converge: {record.status}, {record.why}."
        )
    if part is not None:
        console.note("When all parts have ended, the same command without --part prints the tables.")
        return
    if not tables:
        console.note(f"Compare the runs with: mmbal report {folder}")
        return
    with working("Comparing the runs"):
        found = {name: compare(folders[name], replicates=bootstrap) for name in steps(list(folders))}
    if as_json:
        console.print_json({name: c.model_dump(mode="json") for name, c in found.items()})
        return
    for name, comparison in found.items():
        table = render.table_of(comparison)
        if markdown:
            typer.echo(f"### {name}\n\n{render.markdown(table, comparison)}")
        else:
            show(replace(table, title=name), comparison)
