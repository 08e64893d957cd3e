"""`mmbal import`: another project's model or figures as predictions that every other command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import console
from mmbal.cli.options import Device, Force, Json, Like, Normalise, Scores, normalisation
from mmbal.cli.progress import working
from mmbal.errors import UsageError

TABLES = (".csv", ".tsv", ".txt")
DECISIONS = ("logits_", "probabilities_", "subset_", "fused")
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".tar")


def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="scores.csv, features.npz with a linear head, or a two-ResNet-18 checkpoint .pt/.pth.",
        ),
    ],
    head: Annotated[
        Path | None, typer.Option(help="The head's .npz (weight, bias), if not in the feature file.")
    ] = None,
    scores: Annotated[Scores, typer.Option(help="What the numbers of a CSV are.")] = Scores.auto,
    data: Annotated[Path | None, typer.Option(help="For a checkpoint: the store to run it on.")] = None,
    normalise: Normalise = None,
    like: Like = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="For a checkpoint: its classes in its order. Default: its repository's."),
    ] = None,
    device: Device = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Predictions file, or run folder of a checkpoint. Default: from the source's name."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Import any model: a CSV of scores, features with a linear head, or a usual two-ResNet-18 checkpoint.

    Examples:
        mmbal import scores.csv
        mmbal import best_model.pth --data stores/cremad
    """
    from mmbal.files import locked, npz_keys, refuse_existing
    from mmbal.predictions.describe import contents, told
    from mmbal.predictions.features import is_feature_file
    from mmbal.predictions.readers import predictions_from_csv, predictions_from_head
    from mmbal.report.training import next_commands

    ending = source.suffix.lower()
    if ending in CHECKPOINTS:
        order = None if classes is None else [name.strip() for name in classes.split(",")]
        _import_checkpoint(source, data, normalisation(normalise, like), order, device, out, force, as_json)
        return
    if ending in TABLES:
        with working(f"Reading {source.name}"):
            found = predictions_from_csv(source, scores.value)
    elif ending == ".npz":
        if npz_keys(source) and not is_feature_file(source) and any(k.startswith(DECISIONS) for k in npz_keys(source)):
            raise UsageError(f"{source} is a file of predictions already.", f"mmbal diagnose {source}")
        found = predictions_from_head(source, head)
    else:
        raise UsageError(
            f"{source} has no known ending.",
            f"Known: {', '.join(TABLES)}, .npz (features), {', '.join(CHECKPOINTS)} (checkpoints).",
        )
    doubt = found.doubt()
    console.warn([*([doubt] if doubt else []), *found.warnings])
    out = out or source.with_name(f"{source.stem}.predictions.npz")
    with locked(out):
        refuse_existing(out, force)
        found.save(out)
    if as_json:
        console.print_json(contents(found, out))
        return
    for line in told(found, out):
        console.say(line)
    console.commands(next_commands(out))


def _import_checkpoint(
    source: Path,
    data: Path | None,
    normalise: dict[str, str],
    order: list[str] | None,
    device: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    from mmbal.engine.importing import import_run
    from mmbal.report.training import imported as described
    from mmbal.report.training import next_commands

    if data is None:
        raise UsageError(
            "A checkpoint needs the store to run it on.", f"mmbal prepare ..., then: mmbal import {source} --data STORE"
        )
    result = import_run(source, data, out=out, force=force, device=device or "auto", normalise=normalise, order=order)
    imported, head = result.imported, result.imported.head
    if as_json:
        found = {
            "encoders": imported.encoders,
            "fusion": head.fusion,
            "options": head.options,
            "decided_by": head.method,
            "repositories": list(imported.layout.repositories),
            "classes": list(result.order),
        }
        console.print_json({"run": str(result.folder), **result.summary, **found, "unused": imported.unused})
        return
    table, lines = described(result)
    console.show(table)
    for line in lines:
        console.say(line)
    console.commands(next_commands(result.folder))
