"""`mmbal export`: writes a stored rule for where the model runs."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from mmbal.cli import completion, console
from mmbal.cli.options import Force, Json


class Format(str, Enum):
    """The kinds of files."""

    onnx = "onnx"
    torch_export = "torch_export"
    json = "json"


def export(
    rule: Annotated[
        Path,
        typer.Argument(
            metavar="RULE|RUN",
            help="A stored rule (NAME.rule.json), or the run or file that it is of.",
            autocompletion=completion.runs,
        ),
    ],
    format: Annotated[
        Format | None, typer.Option(help="onnx, torch_export or json. Default: by the ending of --out, else onnx.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file. Default: NAME.onnx, NAME.pt2 or NAME.export.json beside the rule.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a stored rule as ONNX, as a program of torch.export, or as JSON that can be evaluated without mmbal.

    Before the file is left, its decisions are compared with the rule's; the largest difference is printed.
    """
    from mmbal.decision.export import SUFFIXES, export_rule
    from mmbal.deployment import load_rule

    kind = None if format is None else format.value
    if out is None:
        ending = ".export.json" if kind == "json" else SUFFIXES[kind or "onnx"]
        out = rule.with_name(f"{rule.name.removesuffix('.json').removesuffix('.npz')}{ending}")
    found = export_rule(load_rule(rule), out, kind, force)
    if json:
        console.print_json({**asdict(found), "file": str(found.file), "sentence": found.sentence()})
        return
    console.say(found.sentence())
