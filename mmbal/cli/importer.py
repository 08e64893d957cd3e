"""`mmbal import`: another project's model or figures as predictions that every other command takes."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbal.cli import console
from mmbal.cli.options import Device, Force, Json
from mmbal.errors import UsageError

if TYPE_CHECKING:
    from mmbal.predictions.format import Predictions

TABLES = (".csv", ".tsv", ".txt")
DECISIONS = ("logits_", "probabilities_", "subset_", "fused")
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".tar")


class Scores(str, Enum):
    """What the numbers of a CSV are."""

    auto = "auto"
    probabilities = "probabilities"
    logits = "logits"


def import_model(
    source: Annotated[
        Path,
        typer.Argument(help="scores.csv, features.npz with a linear head, or a two-ResNet-18 checkpoint .pt/.pth."),
    ],
    head: Annotated[
        Path | None, typer.Option(help="The head's .npz (weight, bias), if not in the feature file.")
    ] = None,
    scores: Annotated[Scores, typer.Option(help="What the numbers of a CSV are.")] = Scores.auto,
    data: Annotated[Path | None, typer.Option(help="For a checkpoint: the store to run it on.")] = None,
    device: Device = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Predictions file, or run folder of a checkpoint. Default: from the source's name."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Import any model: a CSV of scores, features with a linear head, or a usual two-ResNet-18 checkpoint.

    Examples: [bold]mmbal import scores.csv[/bold]; [bold]mmbal import best_model.pth --data stores/cremad[/bold].
    The formats, and how to collect predictions in Python: docs/your-model.md.
    """
    from mmbal.files import locked, npz_keys, refuse_existing
    from mmbal.predictions.features import is_feature_file
    from mmbal.predictions.readers import predictions_from_csv, predictions_from_head

    ending = source.suffix.lower()
    if ending in CHECKPOINTS:
        _import_checkpoint(source, data, device, out, force, as_json)
        return
    if ending in TABLES:
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
    _show(found, out, as_json)


def _show(found: Predictions, out: Path, as_json: bool) -> None:
    document = {
        "predictions": str(out),
        "samples": len(found),
        "splits": found.splits(),
        "classes": list(found.classes),
        "modalities": list(found.modalities),
        "absent": {m: int((~mask).sum()) for m, mask in found.present.items()},
        "fused": found.fused is not None,
        **{key: found.meta[key] for key in ("scores",) if key in found.meta},
        "warnings": list(found.warnings),
    }
    if as_json:
        console.print_json(document)
        return
    splits = ", ".join(f"{n} {name}" for name, n in found.splits().items())
    console.say(f"{out}: {splits}; {len(found.classes)} classes; {', '.join(found.modalities)}")
    if "scores" in document:
        console.say(f"The numbers were taken for {_forms(found.meta['scores'])}.")
    if found.fused is None:
        console.say(
            "There are no fused scores: the plain sum of the modalities' log-scores is taken for the model's decision."
        )
    _next(str(out))


def _forms(scores: str | dict[str, str]) -> str:
    """What the scores were taken for, in words; by modality where they differ."""
    from mmbal.predictions.scores import WORDS

    if isinstance(scores, str):
        return WORDS.get(scores, scores)
    return f"a mix: {', '.join(f'{WORDS.get(form, form)} of {m}' for m, form in scores.items())}"


def _import_checkpoint(
    source: Path, data: Path | None, device: str | None, out: Path | None, force: bool, as_json: bool
) -> None:
    from mmbal.engine.importing import import_run

    if data is None:
        raise UsageError(
            "A checkpoint needs the store to run it on.", f"mmbal prepare ..., then: mmbal import {source} --data STORE"
        )
    result = import_run(source, data, out=out, force=force, device=device or "auto")
    imported = result.imported
    if as_json:
        found = {"encoders": imported.encoders, "fusion": imported.fusion, "options": imported.options}
        console.print_json({"run": str(result.folder), **result.summary, **found, "unused": imported.unused})
        return
    rows = [[f"encoder of {m}", prefix.rstrip(".") or "(top)"] for m, prefix in imported.encoders.items()]
    console.table(["part", "in the file"], [*rows, ["fusion", imported.fusion]], numeric=[])
    if imported.unused:
        console.say(f"{len(imported.unused)} keys of the file were not used: {', '.join(imported.unused)}")
    for split in ("val", "test"):
        if split in result.summary:
            figures = result.summary[split]
            console.say(f"{split}: accuracy {console.percent(figures['accuracy'])}, NLL {figures['nll']:.3f}")
    console.say(
        "If this is far below the model's known accuracy, the store was not preprocessed as its training data were."
    )
    _next(str(result.folder))


def _next(path: str) -> None:
    console.say(f"mmbal diagnose {path}    which modality decides, and what that costs")
    console.say(f"mmbal calibrate {path}   fits the decision layer, in seconds")
