"""The program as it is typed in a terminal, run in this process; its two streams are kept apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from typer.testing import CliRunner, Result

from mmbal.cli.app import app


def mmbal(*arguments: Any, env: Mapping[str, str] | None = None) -> Result:
    """What ``mmbal`` with these arguments ends with and prints."""
    return CliRunner().invoke(app, [str(a) for a in arguments], env=env)


def ok(*arguments: Any, env: Mapping[str, str] | None = None) -> str:
    """The standard output of a command that must succeed."""
    result = mmbal(*arguments, env=env)
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(*arguments: Any) -> Any:
    """The JSON document of a command that must succeed."""
    return json.loads(ok(*arguments, "--json"))


def refused(code: int, *arguments: Any) -> str:
    """The error of a command that ends with ``code``; there is no traceback."""
    result = mmbal(*arguments)
    assert result.exit_code == code, (result.exit_code, result.output)
    assert "Traceback" not in result.output
    assert "Internal error" not in result.output
    return result.stderr
