"""`mmbal train`: parse, train, print the results and the next commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import (
    BatchSize,
    ConfigFile,
    Data,
    Device,
    Encoder,
    Epochs,
    Force,
    Json,
    LearningRate,
    MaxHours,
    Out,
    Pages,
    Patience,
    Precision,
    SaveEvery,
    Seed,
    Set,
    refuse_with_resume,
    training_config,
)
from mmbal.cli.progress import working
from mmbal.progress import steps
from mmbal.torchrun import is_first

if TYPE_CHECKING:
    from mmbal.engine.train import Result


def train(
    data: Data = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="joint, ogm_ge, unimodal...: `mmbal methods list`.", autocompletion=completion.members("method")
        ),
    ] = None,
    fusion: Annotated[
        str | None,
        typer.Option(help="concat, sum, film, gated, adaptive...", autocompletion=completion.members("fusion")),
    ] = None,
    encoder: Encoder = None,
    encoders: Annotated[
        Path | None,
        typer.Option(
            help="Start from the trained encoders of this run (see `mmbal pretrain`).", autocompletion=completion.runs
        ),
    ] = None,
    freeze_encoders: Annotated[bool | None, typer.Option("--freeze-encoders", help="Train the fusion alone.")] = None,
    views: Annotated[
        int | None, typer.Option(min=1, help="With frozen encoders: cache the features of so many augmented views.")
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Batches whose mean gradient makes a step: less memory for the same step.")
    ] = None,
    lr: LearningRate = None,
    patience: Patience = None,
    seed: Seed = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train this many runs, with consecutive seeds.")] = 1,
    device: Device = None,
    precision: Precision = None,
    assignments: Set = None,
    config: ConfigFile = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run; --epochs may extend it.", autocompletion=completion.runs)
    ] = None,
    optimistic: Annotated[
        bool | None,
        typer.Option("--optimistic", help="Also record the test figures of each epoch, as many papers report them."),
    ] = None,
    save_every: SaveEvery = None,
    max_hours: MaxHours = None,
    pages: Pages = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Dry run: show config, shapes, sizes and time, and train nothing.")
    ] = False,
    out: Out = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a multimodal classifier by any method, under one protocol: the test set chooses nothing.

    What is not given has the default of the configuration, which `mmbal init` writes with every key explained.

    Examples:
        mmbal train --fusion adaptive
        mmbal train --data stores/clips --method ogm_ge --set method.alpha=0.5 --seeds 3
    """
    from mmbal.engine.dry_run import dry_run as try_out
    from mmbal.engine.session import about
    from mmbal.training import resume as go_on
    from mmbal.training import train as run

    if resume is not None:
        refuse_with_resume(
            method=method,
            fusion=fusion,
            encoder=encoder,
            encoders=encoders,
            freeze_encoders=freeze_encoders,
            views=views,
            batch_size=batch_size,
            accumulate=accumulate,
            lr=lr,
            patience=patience,
            seed=seed,
            seeds=None if seeds == 1 else seeds,
            device=device,
            precision=precision,
            set=assignments,
            config=config,
            optimistic=optimistic,
            dry_run=dry_run or None,
            out=out,
        )
        with working("Training") as report:
            moved = None if data is None else str(data)
            results = [
                go_on(
                    resume,
                    epochs=epochs,
                    data=moved,
                    report=report,
                    save_every=save_every,
                    max_hours=max_hours,
                    pages=pages,
                )
            ]
        _answer(results, as_json)
        return
    settings = training_config(
        data,
        config,
        encoder=encoder,
        assignments=assignments,
        method=method,
        fusion=fusion,
        encoders_from=None if encoders is None else str(encoders),
        freeze_encoders=freeze_encoders,
        views=views,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        optimiser__lr=lr,
        patience=patience,
        seed=seed,
        device=device,
        precision=precision,
        optimistic=optimistic,
    )
    if dry_run:
        found = try_out(settings)
        if is_first():
            _show_dry_run(found, as_json)
        return
    outs: list[Path | None] = [out]
    if seeds > 1 and out is not None:
        outs = [out.with_name(f"{out.name}-s{settings.seed + k}") for k in range(seeds)]
    elif seeds > 1:
        outs = [None] * seeds
    results = []
    with working("Training") as report:
        for k, folder in steps(list(enumerate(outs))):
            own = settings.model_copy(update={"seed": settings.seed + k})
            told = report if seeds == 1 else about(f"seed {own.seed}", report)
            results.append(
                run(own, out=folder, force=force, report=told, save_every=save_every, max_hours=max_hours, pages=pages)
            )
    _answer(results, as_json)


def _answer(results: list[Result], as_json: bool) -> None:
    """Show the figures; once, under torchrun."""
    if is_first():
        _show(results, as_json)


def _show(results: list[Result], as_json: bool) -> None:
    from mmbal.report.training import next_commands, spread, trained

    if as_json:
        console.print_json({"runs": [{"run": str(r.folder), **r.summary} for r in results]})
        return
    console.show(trained(results))
    for line in spread(results):
        console.say(line)
    console.commands(next_commands(results[0].folder))


def _show_dry_run(found: dict[str, Any], as_json: bool) -> None:
    from mmbal.config import to_yaml
    from mmbal.report.training import dry_run

    if as_json:
        console.print_json(found)
        return
    tables, time = dry_run(found)
    console.say(to_yaml(found["config"]).rstrip())
    console.show(*tables)
    console.say(time)
