"""Commands that run other commands: each step is printed as one would type it, and then run as if it had been typed."""

from __future__ import annotations

import shlex
from typing import Any

from mmbal.cli import console
from mmbal.errors import MmbalError


def run(program: Any, line: str) -> None:
    """Print a command and run it; ``program`` is the command line itself. Raises what the command raises, and MmbalError."""
    console.typed(f"\n$ {line}")
    code = program.main(shlex.split(line)[1:], prog_name="mmbal", standalone_mode=False)
    if code:
        raise MmbalError(f"`{line}` ended with exit code {code}.", "`mmbal doctor` shows what does not work here.")


def heading(text: str) -> None:
    console.say(f"\n{text}\n{'=' * len(text)}", style="bold")
