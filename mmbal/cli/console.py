"""What commands print: data go to stdout and messages to stderr; with --json, JSON alone. Progress is in progress.py."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions
from rich.table import Table as Grid
from rich.text import Text

from mmbal.tables import Fitted, Table
from mmbal.text import sentence, visible

PIPED_WIDTH = 120  # a pipe has no width of its own; columns must not be cut there
NO_BREAK = "\u00a0"


class _Out(Console):
    """Standard output, whose width is COLUMNS where that is set, else the terminal's; a pipe has none of its own."""

    @property  # type: ignore[misc]
    def size(self) -> ConsoleDimensions:
        found, given = super().size, os.environ.get("COLUMNS", "")
        if given.isdigit() and int(given) > 0:
            return ConsoleDimensions(int(given), found.height)
        return found if self.is_terminal else ConsoleDimensions(PIPED_WIDTH, found.height)


# What is printed is as it is: a class called "[bold]" is a name, not a style.
out = _Out(markup=False, highlight=False)
err = Console(markup=False, stderr=True, highlight=False)


def show(*tables: Table) -> None:
    """Print tables on stdout as wide as it allows, and name on stderr what has no room, once for all of them."""
    width, needed = out.width, 0
    dropped: list[str] = []
    for table in tables:
        fitted = table.fitting(width, cell_len)
        _print(fitted)
        gone = [*fitted.dropped, *([] if fitted.intervals else ["intervals"])]
        dropped += gone
        needed = max(needed, table.width(measure=cell_len) if gone else 0)
    if dropped:
        names = ", ".join(filter(str.strip, dict.fromkeys(dropped)))  # a column of marks has no name
        note(
            f"Not shown at {width} columns: {names}. They need {needed} columns (or set COLUMNS={needed}); --json has all."
        )


def _print(fitted: Fitted) -> None:
    out.print(grid_of(fitted))
    if fitted.table.caption:
        out.print(Text(fitted.table.caption, style="italic"))


def grid_of(fitted: Fitted) -> Grid:
    """The table as Rich prints it, without its caption."""
    table = fitted.table
    grid = Grid(title=Text(table.title) if table.title else None, box=SIMPLE_HEAD, title_justify="left")
    grid.title_style = "bold"
    for k, (head, column) in enumerate(zip(table.heads(fitted.intervals), table.columns, strict=True)):
        left = k == 0 or column.left or column.bar
        grid.add_column(
            Text(visible(head)), justify="left" if left else "right", no_wrap=not column.wrap, overflow="fold"
        )
    for row in table.rows(fitted.intervals):
        grid.add_row(*(Text(visible(cell)) for cell in row))
    return grid


def say(text: str = "", style: str = "") -> None:
    """Print a line of the answer itself on stdout (plain text: brackets are not markup)."""
    out.print(Text(visible(text), style=style))


def typed(command: str) -> None:
    """Print a command on stdout, where the terminal breaks long lines: what is copied from it stays whole."""
    out.print(Text(command, style="bold cyan"), soft_wrap=True)


def paragraph(sentences: Iterable[str]) -> None:
    """Print sentences as lines of the terminal's width; a number and its percent sign stay together."""
    text = textwrap.fill(" ".join(sentences).replace(" %", NO_BREAK + "%"), out.width)
    say(text.replace(NO_BREAK, " "))


def page(text: str) -> None:
    """Print a docstring in the terminal's width: its paragraphs, and its formulas, which are indented."""
    for block in text.split("\n\n"):
        lines = block.splitlines()
        plain = next((k for k, line in enumerate(lines) if line.startswith(" ")), len(lines))
        if plain:
            paragraph(lines[:plain])
        for line in lines[plain:]:
            say(textwrap.fill(line, out.width, subsequent_indent=" " * 8, replace_whitespace=False))
        say()


def commands(lines: Iterable[tuple[str, str]]) -> None:
    """Print useful next commands, each with its purpose, on one line where there is room for all."""
    told = list(lines)
    width = max((len(command) for command, _ in told), default=0)
    fits = all(width + len(purpose) + 4 <= out.width for _, purpose in told)
    for command, purpose in told:
        say(f"  {command:<{width}}  {purpose}" if fits else f"  {command}\n      {purpose}", style="cyan")


def note(text: str) -> None:
    """Print a message about the work on stderr."""
    _tell(Text(text, style="dim"))


def warn(texts: Iterable[str]) -> None:
    """Print what looks wrong in what was read on stderr, a line each."""
    for text in texts:
        _tell(Text("Warning: ", style="yellow") + Text(sentence(text)))


def told_of(path: Any, meta: Mapping[str, Any], warnings: Iterable[str]) -> None:
    """Print on stderr how predictions were read from ``path``: the heads that features got, and what looks wrong."""
    if "heads" in meta:
        note(f"{path} holds features without decisions: {meta['heads']}.")
    warn(warnings)


def fail(message: str, hint: str = "", label: str = "Error", page: str = "") -> None:
    """Print an error, or what else a command ends with, its hint and the page that helps on stderr."""
    _tell(Text(f"{label}: ", style="bold red") + Text(message))
    if hint:
        _tell(Text(f"{'':{len(label) + 2}}{hint}"))
    if page and "docs/" not in hint:
        _tell(Text(f"{'':{len(label) + 2}}See {page}.", style="dim"))


def _tell(text: Text) -> None:
    """Print on stderr, where the terminal breaks long lines: what is copied from it stays whole."""
    if visible(text.plain) != text.plain:
        text = Text(visible(text.plain))
    err.print(text, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, and nothing else may go there; escaped where the encoding is not Unicode's."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(document, indent=2, ensure_ascii=not encoding.startswith("utf"), allow_nan=False)
    sys.stdout.write(re.sub("[\ud800-\udfff]", lambda sign: f"\\u{ord(sign[0]):04x}", text) + "\n")
