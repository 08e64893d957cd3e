"""Where each command stands, and what becomes of its failures.

A command is imported when it is looked up. So `mmbal report` does not wait for what `mmbal prepare` imports.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command

from mmbal.cli.help import Command, group_page, in_words
from mmbal.cluster import ADDRESS
from mmbal.errors import Interrupted, MmbalError, did_you_mean, of_import, of_system
from mmbal.torchrun import told_by_another

DEBUG = "MMBAL_DEBUG"
MISUNDERSTOOD: Any = typer.BadParameter.__mro__[1]  # Typer's error for a command line that can't be understood


@dataclass(frozen=True)
class Place:
    """The module of a command, its function there, the page that explains it, and its panel in help."""

    module: str
    function: str
    page: str
    panel: str | None = None

    def load(self, name: str) -> Any:
        """The command under a ``name``, as Typer runs it."""
        function = getattr(import_module(f"mmbal.cli.{self.module}"), self.function)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name, cls=Command, rich_help_panel=self.panel)(guarded(function, self.page))
        command = in_words(get_command(alone), function)
        command.docs = self.page
        return command


class Commands(Mapping[str, Any]):
    """Commands by name: those of ``places``, each loaded when it is first looked up, and the groups of ``given``."""

    def __init__(self, places: Mapping[str, Place], given: Mapping[str, Any]) -> None:
        self.places, self.loaded, self.names = places, dict(given), (*places, *given)

    def __getitem__(self, name: str) -> Any:
        if name in self.places and name not in self.loaded:
            self.loaded[name] = self.places[name].load(name)
        return self.loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Lazy(TyperGroup):
    """A group of commands that are loaded when they are looked up; a subclass gives their ``places``."""

    places: ClassVar[Mapping[str, Place]] = {}

    def __init__(self, commands: Any = None, **settings: Any) -> None:
        super().__init__(commands=commands, **settings)
        if self.places:
            self.commands: Any = Commands(self.places, self.commands)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = did_you_mean(args[0], self.list_commands(ctx))
            raise MISUNDERSTOOD(f"There is no command '{args[0]}'. {near}", ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write("".join(group_page(self, ctx)))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line; one that can't be understood is told as every other error is."""
        alone = extra.pop("standalone_mode", True)
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
        except MISUNDERSTOOD as error:
            if not alone:
                raise
            _tell(error)
            code = error.exit_code
        if alone:
            sys.exit(code)
        return code


class WithDefault(Lazy):
    """A group of commands that takes what is none of their names for arguments of its first command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == next(iter(self.commands)) else name), command, rest  # help shows the name as it is typed


def with_address(args: list[str]) -> list[str]:
    """``--ray`` without an address gets an empty one, since Typer knows no option whose value may be left out."""
    following = [*args[1:], ""]
    return ["--ray=" if a == "--ray" and not ADDRESS.fullmatch(b) else a for a, b in zip(args, following, strict=True)]


def _tell(error: Any) -> None:
    """Print what is wrong with a command line, and how it is written."""
    from mmbal.cli import console

    called = " ".join(error.ctx.command_path.split()) if error.ctx else "mmbal"
    hint = f"`{called} --help` says how the command is written."
    message = error.format_message().replace("Value error, ", "")
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):  # there is no such option
        message = f"There is no option {error.option_name}."
        hint = f"Did you mean {' or '.join(sorted(error.possibilities))}?" if error.possibilities else hint
    console.fail(message, hint, page=getattr(error.ctx and error.ctx.command, "docs", ""))


def guarded(command: Callable[..., Any], page: str) -> Callable[..., Any]:
    """``command``, whose failures print a sentence, a hint and the ``page`` that helps, and give their exit code."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            error: MmbalError = Interrupted("Interrupted.")
        except MmbalError as failure:
            error = failure
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except OSError as failure:
            error = of_system(failure)
        except Exception as failure:
            if os.environ.get(DEBUG):
                raise
            lacking = of_import(failure) if isinstance(failure, ModuleNotFoundError) else None
            error = lacking or MmbalError(
                f"Internal error: {type(failure).__name__}: {failure}",
                "This is a bug in mmbal. Run the command again with --debug and report what it prints.",
            )
        if os.environ.get(DEBUG):
            raise error
        if (code := told_by_another(error.exit_code)) is not None:  # one sentence for all processes of a job
            raise typer.Exit(code)
        from mmbal.cli import console

        console.fail(error.message, error.hint, error.label, "" if isinstance(error, Interrupted) else page)
        raise typer.Exit(error.exit_code)

    # Help keeps the line breaks of a docstring; those within a sentence are none that a reader wants.
    run.__doc__ = re.sub(r"(?<![.:;\n])\n(?=\S)", " ", inspect.cleandoc(command.__doc__ or ""))
    return run
