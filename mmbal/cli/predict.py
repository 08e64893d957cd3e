"""`mmbal predict`: classify new clips by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Json, Like, Normalise, normalisation
from mmbal.errors import DataError, UsageError

SHOWN_REASONS = 20


def predict(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A checkpoint.pt, or a run folder.", autocompletion=completion.runs),
    ],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Clips, or folders of them; files of one name (1.png, 1.txt) are one sample."
        ),
    ],
    start: Annotated[float | None, typer.Option(min=0, help="Second of the clip where it begins.")] = None,
    end: Annotated[float | None, typer.Option(min=0, help="Second of the clip where it ends.")] = None,
    normalise: Normalise = None,
    like: Like = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 or mps.")] = "auto",
    as_json: Json = False,
) -> None:
    """Classify your own clips. They are prepared as the training data were, unless --normalise or --like says otherwise.

    Each modality's margin for the predicted class is its contribution to that class minus its mean contribution to the
    other classes, in nats. A file that can't be read gives exit code 4, after all other files are done.
    """
    if end is not None and end <= (start or 0.0):
        raise UsageError(f"--end {end:g} is not after --start {start or 0:g}.")
    from mmbal.engine.predict import predict as run
    from mmbal.report.training import classified

    result = run(checkpoint, files, start=start, end=end, device=device, normalise=normalisation(normalise, like))
    if as_json:
        console.print_json(result.to_dict())
    else:
        console.show(classified(result))
    if result.failed:
        for lost, reason in result.failed[:SHOWN_REASONS]:
            console.note(f"{', '.join(lost)}: {reason}")
        raise DataError(
            f"{len(result.failed)} of {len(result.failed) + len(result.decisions)} samples could not be read."
        )
