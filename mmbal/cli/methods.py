"""`mmbal methods list|show|cite`: methods, fusions, rules, encoders and data sets, and what each does."""

from __future__ import annotations

from typing import Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Json

Kind = Annotated[
    str | None,
    typer.Option(
        help="method, fusion, rule, encoder or dataset. Default: all.",
        autocompletion=completion.words("method", "fusion", "rule", "encoder", "dataset"),
    ),
]


def list_members(kind: Kind = None, as_json: Json = False) -> None:
    """List the training methods, fusions, decision rules, encoders and data sets."""
    from mmbal.report.members import describe, listed, members, outlined

    if as_json:
        console.print_json([describe(k, entry) for k, entry in members(kind)])
    else:
        console.show(*listed(outlined(kind)))


def _names(incomplete: str) -> list[str]:
    from mmbal.report.members import outlined

    return [one["name"] for one in outlined() if one["name"].startswith(incomplete)]


def show_member(
    name: Annotated[str, typer.Argument(help="A method, fusion, rule, encoder or data set.", autocompletion=_names)],
    kind: Kind = None,
    as_json: Json = False,
) -> None:
    """Show one of them: its idea, its formula, its source, its deviations from the source, and its keys."""
    from mmbal.report.members import describe, heading, keys, named, text_of

    found = [describe(k, entry) | {"text": text_of(entry)} for k, entry in named(name, kind)]
    if as_json:
        console.print_json(found)
        return
    for described in found:
        console.say(heading(described), style="bold")
        console.page(described["text"])
        console.show(*keys(described))
        for name in described.get("functions", []):
            console.say(f"function {name}", style="dim")


def cite(
    names: Annotated[list[str], typer.Argument(help="Training methods.", autocompletion=completion.members("method"))],
) -> None:
    """Print the BibTeX of methods, as their pages cite them."""
    from mmbal.registry import methods
    from mmbal.report.citations import bibtex

    typer.echo("\n\n".join(bibtex(methods.entry(name)) for name in names))
