"""`mmbal doctor`: versions, devices, and what works here; with a file: what it holds, and what looks wrong."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmbal.cli import console
from mmbal.cli.options import Json
from mmbal.errors import DataError, MmbalError
from mmbal.text import plural, sentence

if TYPE_CHECKING:
    from mmbal.predictions.describe import Description


def doctor(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE", help="Predictions, features, tables, media, stores, runs, checkpoints, rules..."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine, or files: what each array or column seems to be, and what looks wrong.

    Without FILE, it tries what mmbal needs here (decoding, the embedded data, a device). With FILE, the exit code is 4
    where mmbal can't use one of them.
    """
    if files:
        _look_at(files, as_json)
        return
    from mmbal.engine import machine
    from mmbal.engine.tracking import versions

    found = machine.checks()
    if as_json:
        console.print_json({"versions": versions(), "checks": [asdict(check) for check in found]})
    else:
        console.show(*machine.tables(found))
    if not all(check.ok for check in found):
        raise typer.Exit(1)


def _look_at(files: list[Path], as_json: bool) -> None:
    from mmbal.data.describe import describe_any

    found = [_policy(path) if _is_policy(path) else describe_any(path) for path in files]
    if as_json:
        console.print_json({"files": [one.to_dict() for one in found]})
    for one in [] if as_json else found:
        console.say(f"{one.path}: {one.kind}", style="bold")
        console.show(*([one.table()] if one.parts else []))
        for remark in one.remarks:
            console.say(f"Note: {sentence(remark)}", style="yellow")
        if not one.remarks and not one.problem:
            console.say("Nothing looks wrong.")
    broken = next((one for one in found if one.problem), None)
    if broken is not None:
        raise DataError(broken.problem, broken.hint)


def _is_policy(path: Path) -> bool:
    """Whether it is a YAML file with gates; a damaged one is for others to describe."""
    from mmbal.config import read_yaml

    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        return False
    try:
        return "gates" in read_yaml(path)
    except MmbalError:
        return False


def _policy(path: Path) -> Description:
    """The gates of a policy, or why it can't be used."""
    from mmbal.diagnosis.policy import read_policy
    from mmbal.predictions.describe import Description, Part

    try:
        policy = read_policy(path)
    except MmbalError as error:
        return Description(str(path), "a policy", [], [], error.message, error.hint)
    parts = [Part(gate.name, gate.severity, "", f"fails if {gate.fail_if}") for gate in policy.gates]
    return Description(str(path), f"a policy, {plural(len(parts), 'gate')}", parts, [])
