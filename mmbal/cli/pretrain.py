"""`mmbal pretrain`: one encoder per modality, trained alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from mmbal.torchrun import is_first

if TYPE_CHECKING:
    from mmbal.engine.train import Result

PATIENCE = 10  # epochs without a better validation, unless the options or a --config file say otherwise


def pretrain(
    data: Data = None,
    modality: Annotated[list[str] | None, typer.Option(help="Only these modalities. Repeatable.")] = None,
    encoder: Encoder = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    patience: Patience = None,
    seed: Seed = None,
    device: Device = None,
    precision: Precision = None,
    assignments: Set = None,
    config: ConfigFile = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this stopped pretraining.", autocompletion=completion.runs)
    ] = None,
    save_every: SaveEvery = None,
    max_hours: MaxHours = None,
    pages: Pages = True,
    out: Out = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train one encoder and linear head per modality, with early stopping: what each modality is capable of alone.

    Training stops after 10 epochs without a better validation; --patience changes that, and a --config file has its own.
    The run can be diagnosed and calibrated like any other, and `mmbal train --encoders RUN` starts from it.
    """
    from mmbal.training import pretrain as run
    from mmbal.training import resume_pretrain

    if resume is not None:
        refuse_with_resume(
            data=data,
            modality=modality,
            encoder=encoder,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            patience=patience,
            seed=seed,
            device=device,
            set=assignments,
            config=config,
            out=out,
        )
        with working("Training each modality alone") as report:
            result = resume_pretrain(resume, report=report, save_every=save_every, max_hours=max_hours, pages=pages)
        _show(result, as_json)
        return
    settings = training_config(
        data,
        config,
        encoder=encoder,
        assignments=assignments,
        modalities=modality or None,
        epochs=epochs,
        batch_size=batch_size,
        optimiser__lr=lr,
        patience=patience if patience is not None or config is not None else PATIENCE,
        seed=seed,
        device=device,
        precision=precision,
    )
    with working("Training each modality alone") as report:
        result = run(
            settings, out=out, force=force, report=report, save_every=save_every, max_hours=max_hours, pages=pages
        )
    _show(result, as_json)


def _show(result: Result, as_json: bool) -> None:
    from mmbal.report.training import pretrained

    if not is_first():
        return
    if as_json:
        console.print_json({"run": str(result.folder), **result.summary})
        return
    console.show(pretrained(result))
    console.commands([(f"mmbal train --encoders {result.folder}", "starts from these encoders")])
