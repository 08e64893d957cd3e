"""Commands that run other commands: each step is printed as one would type it, and then run as if it had been typed."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from mmbal.cli import console


def run(program: Any, line: str) -> None:
    """Print a command and run it; ``program`` is the command line itself. What a command that fails says is the end."""
    console.typed(f"\n$ {line}")
    code = program.main(shlex.split(line)[1:], prog_name="mmbal", standalone_mode=False)
    if code:
        raise typer.Exit(code)


def heading(text: str) -> None:
    console.say(f"\n{text}\n{'=' * len(text)}", style="bold")
