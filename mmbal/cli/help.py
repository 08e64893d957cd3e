"""Help for 80 columns: how a command is called, what it does, and what each argument and option is for."""

from __future__ import annotations

import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

WORDS = {int: "N", float: "NUMBER", Path: "PATH", str: "NAME"}  # what stands for a value, unless its option says more
BOUNDS = {"min": "≥", "max": "≤"}
INDENT, NAMES = 2, 30  # columns before a name, and the most that a name has beside its text
Section = tuple[str, list[tuple[str, str]]]  # a head, and each name with its text


class Command(TyperCommand):
    """A command whose help is made here; ``docs`` is the page of the documentation that explains it."""

    docs = ""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        shown = [p for p in self.get_params(ctx) if not getattr(p, "hidden", False)]
        arguments = [p for p in shown if p.param_type_name == "argument"]
        options = [(p, (_option(p), _text(p))) for p in shown if p not in arguments]
        usage = " ".join(["[OPTIONS]", *map(_argument, arguments)])
        sections = [("Arguments", [(_bare(p), _text(p)) for p in arguments]), *_panels(options, "Options")]
        last = f"More: {self.docs}" if self.docs else ""
        formatter.write("".join(_page(ctx, usage, self.help or "", sections, last)))


def group_page(group: Any, ctx: Any) -> Iterator[str]:
    """The lines of the help page of a group of commands."""
    commands = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    rows = [(command, (name, (command.help or "").split("\n\n")[0])) for name, command in commands.items()]
    options = [(_option(p), _text(p)) for p in group.get_params(ctx)]
    sections = [*_panels(rows, "Commands"), ("Options", options)]
    return _page(ctx, "COMMAND [OPTIONS]", group.help or "", sections, group.epilog or "")


def _panels(rows: Iterable[tuple[Any, tuple[str, str]]], otherwise: str) -> list[Section]:
    """The rows of commands or options under the heads of their panels."""
    found: dict[str, list[tuple[str, str]]] = {}
    for member, row in rows:
        found.setdefault(getattr(member, "rich_help_panel", None) or otherwise, []).append(row)
    return list(found.items())


def _page(ctx: Any, usage: str, told: str, sections: Iterable[Section], last: str) -> Iterator[str]:
    """The lines of a help page; the lines of ``told`` are kept apart."""
    from mmbal.cli import console

    width = min(console.out.width, 100)
    yield f"Usage: {' '.join(ctx.command_path.split())} {usage}\n\n"
    for line in told.splitlines():
        yield textwrap.fill(line, width, break_on_hyphens=False) + "\n"
    for head, rows in sections:
        if not rows:
            continue
        yield "\n" + typer.style(head, bold=True) + "\n"
        column = max([len(name) for name, _ in rows if len(name) <= NAMES], default=NAMES)
        before = " " * (INDENT + column + 2)
        for name, text in rows:
            lines = textwrap.wrap(text, width - len(before), break_on_hyphens=False) or [""]
            if len(name) > column:
                yield " " * INDENT + name + "\n" + before + lines.pop(0) + "\n"
            else:
                yield f"{' ' * INDENT}{name:<{column}}  {lines.pop(0)}".rstrip() + "\n"
            yield from (before + line + "\n" for line in lines)
    if last:
        yield "\n" + textwrap.fill(last, width, break_on_hyphens=False) + "\n"


def in_words(command: Any, function: Callable[..., Any]) -> Any:
    """``command``, whose parameters say what stands for their values, and their bounds, by what ``function`` declares.

    The declarations are read because what Typer makes of them differs from one of its versions to the next.
    """
    found = declarations(function)
    for parameter in command.params:
        if hasattr(found.get(parameter.name), "__metadata__"):
            kind, declared = typing.get_args(found[parameter.name])
            parameter.help = " ".join(filter(None, [declared.help, _bounds(declared)]))
            parameter.metavar = parameter.metavar or _word(kind)
    return command


def declarations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a command's parameters, as they are written.

    Python 3.10 puts a union with None around that of a parameter that is None by default; Typer would see no declaration.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    return {
        name: next((part for part in (hint, *typing.get_args(hint)) if hasattr(part, "__metadata__")), hint)
        for name, hint in hints.items()
    }


def _word(hint: Any) -> str:
    """What stands for a value of a type."""
    for kind in _kinds(hint):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return "|".join(str(choice.value) for choice in kind)
        if kind in WORDS:
            return WORDS[kind]
    return ""


def _bounds(declared: Any) -> str:
    found = [f"{sign} {bound:g}" for key, sign in BOUNDS.items() if (bound := getattr(declared, key)) is not None]
    return f"[{', '.join(found)}]" if found else ""


def _kinds(hint: Any) -> list[Any]:
    """The plain types within a type: those of ``list[str] | None`` are str and None."""
    inner = typing.get_args(hint)
    return [kind for part in inner for kind in _kinds(part)] if inner else [hint]


def _bare(parameter: Any) -> str:
    """The name of an argument."""
    return str(parameter.metavar or parameter.name.upper())


def _argument(parameter: Any) -> str:
    """An argument as the usage line has it: in brackets where it may be left out, with dots where there may be more."""
    name = _bare(parameter) + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    """An option as it is typed: ``-h, --help``, ``--flip / --no-flip``, ``--epochs N``."""
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        names += f" / {parameter.secondary_opts[0]}"
    word = "" if getattr(parameter, "is_flag", False) else parameter.metavar or ""
    return f"{names} {word}".rstrip()


def _text(parameter: Any) -> str:
    """What an argument or option is for, and its default."""
    default = parameter.default
    told = parameter.help or ""
    if parameter.param_type_name == "option" and parameter.required:
        return f"{told} Required."
    if not parameter.show_default or callable(default) or default is False or default in (None, "", (), []):
        return told
    if default is True:
        return f"{told} Default: {parameter.opts[0]}."
    value = default.value if isinstance(default, Enum) else f"{default:g}" if isinstance(default, float) else default
    return f"{told} Default: {value}."
