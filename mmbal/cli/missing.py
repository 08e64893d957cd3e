"""`mmbal missing`: how well a model decides with a missing modality, and whether filling it in helps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Device, Json
from mmbal.cli.progress import working


def missing(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder or its checkpoint.pt.", autocompletion=completion.runs),
    ],
    impute: Annotated[
        list[str] | None,
        typer.Option(
            help="zero, mean, noise or diffusion. Repeatable. Default: all.",
            autocompletion=completion.words("zero", "mean", "noise", "diffusion"),
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="The samples to decide on.")] = "test",
    data: Annotated[Path | None, typer.Option(help="Where the run's store is, if it has moved.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Draws averaged, for noise and diffusion.")] = 8,
    updates: Annotated[int, typer.Option(min=1, help="Training steps of the diffusion imputer.")] = 2000,
    weighting: Annotated[
        str,
        typer.Option(
            help="Loss weights of the diffusion imputer: debias, constant, p2, min_snr or inverse.",
            autocompletion=completion.words("debias", "constant", "p2", "min_snr", "inverse"),
        ),
    ] = "debias",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the imputer and the draws.")] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Remove modalities from the input of a trained model, fill them in, and compare the decisions."""
    from mmbal.engine.missing import IMPUTATIONS, evaluate_missing
    from mmbal.maths.snr import check_weighting

    with working("Deciding without modalities"):
        report = evaluate_missing(
            run,
            impute=impute or IMPUTATIONS,
            split=split,
            data=data,
            draws=draws,
            updates=updates,
            weighting=check_weighting(weighting),
            seed=seed,
            device=device or "auto",
        )
    if as_json:
        console.print_json(report.model_dump(mode="json"))
        return

    console.show(report.table())
    for sentence in report.conclusions():
        console.say(sentence)
