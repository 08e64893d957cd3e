"""`mmbal init`: a commented configuration to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Force


def init(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path("config.yaml"),
    method: Annotated[
        str, typer.Option(help="Training method: `mmbal methods list`.", autocompletion=completion.members("method"))
    ] = "joint",
    fusion: Annotated[
        str | None,
        typer.Option(
            help="Fusion. Default: the one that the method needs, else concat.",
            autocompletion=completion.members("fusion"),
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The store to train on.", autocompletion=completion.stores)] = None,
    force: Force = False,
) -> None:
    """Write a training configuration with every key, its default and its meaning, to edit and then train with."""
    from mmbal.engine.template import template
    from mmbal.files import refuse_existing, write_text

    text = template(method, fusion, None if data is None else str(data), out.name)  # checks the names
    refuse_existing(out, force)
    write_text(out, text)
    console.say(f"Wrote {out}.")
    console.commands(
        [
            (f"mmbal train --config {out} --dry-run", "shows what the run would be, and how long it would take"),
            (f"mmbal train --config {out}", "trains"),
        ]
    )
