"""`mmbal apply`: decides new samples by a stored rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Force, Json, Scores


def apply(
    rule: Annotated[
        Path,
        typer.Argument(
            metavar="RULE",
            help="A stored rule (NAME.rule.json), or the run or file that it is of.",
            autocompletion=completion.runs,
        ),
    ],
    new: Annotated[
        Path, typer.Argument(metavar="NEW", help="Predictions of new samples (.npz) or a CSV; labels may be missing.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write the decisions here: predictions (.npz) or .csv.")] = None,
    scores: Annotated[Scores, typer.Option(help="What the scores of a CSV are.")] = Scores.auto,
    force: Force = False,
    json: Json = False,
) -> None:
    """Decide new samples by a rule that `mmbal calibrate` stored.

    NEW has the log-probabilities or logits of each modality, as the file that the rule was fitted on. Where it has
    labels, the accuracy before and after is printed.

    Example:
        mmbal apply mine.rule.json new.npz
    """
    from mmbal.deployment import apply_rule, check_ending, load_rule
    from mmbal.files import refuse_existing

    check_ending(out)
    refuse_existing(out, force)
    found = apply_rule(load_rule(rule), new, scores.value)
    if out is not None:
        found.save(out)
    if json:
        told = {"out": None if out is None else str(out), "warnings": list(found.predictions.warnings)}
        console.print_json(found.to_json() | told)
        return
    console.warn(found.predictions.warnings)
    console.say(found.sentence(), style="bold")
    if out is None:
        console.show(found.table())
    else:
        console.say(f"Written to {out}.")
