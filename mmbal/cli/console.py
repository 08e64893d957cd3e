"""The only file that knows Rich: data go to stdout, progress and messages to stderr, JSON alone where it was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 120  # a pipe has no width of its own; columns must not be cut there

# What is printed is as it is: a class called "[bold]" is a name, not a style.
out = Console(markup=False, width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, soft_wrap=False)
err = Console(markup=False, stderr=True, highlight=False, soft_wrap=True)


class Advance(Protocol):
    """What `progress` hands to the worker: call it after each step, with a line of figures if there is one."""

    def __call__(self, steps: int = 1, message: str = "") -> None: ...


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    numeric: Sequence[str] | None = None,
    caption: str = "",
) -> None:
    """Print rows on stdout; every column but the first is right-aligned unless ``numeric`` names those that are.

    Cells may be text, numbers or Rich renderables; None prints as a dash.
    """
    grid = Table(
        title=title or None, caption=caption or None, box=SIMPLE_HEAD, title_justify="left", caption_justify="left"
    )
    grid.title_style = "bold"
    for position, name in enumerate(columns):
        right = name in numeric if numeric is not None else position > 0
        grid.add_column(name, justify="right" if right else "left", no_wrap=position == 0, overflow="fold")
    for row in rows:
        grid.add_row(*("–" if cell is None else cell if isinstance(cell, Text) else str(cell) for cell in row))
    out.print(grid)


def say(text: str = "", style: str = "") -> None:
    """Print a line of the answer itself on stdout (plain text: brackets are not markup)."""
    out.print(Text(text, style=style))


def note(text: str) -> None:
    """Print a message about the work on stderr."""
    err.print(Text(text, style="dim"))


def fail(message: str, hint: str = "") -> None:
    """Print an error and its hint on stderr."""
    err.print(Text("Error: ", style="bold red") + Text(message))
    if hint:
        err.print(Text(f"       {hint}"))


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, and nothing else may go there."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def percent(value: float | None, digits: int = 1) -> str:
    """A share as text, ``59.4 %``; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def bar(share: float, width: int = 10) -> str:
    """A share in [0, 1] as a bar of eighth blocks, at most ``width`` cells."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


@contextmanager
def progress(description: str, total: int | None, *, of_bytes: bool = False) -> Iterator[Advance]:
    """A progress bar on stderr where that is a terminal; otherwise only messages, as plain lines."""
    if not err.is_terminal:

        def plain(steps: int = 1, message: str = "") -> None:
            if message:
                note(message)

        yield plain
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task(description, total=total, note="")

        def advance(steps: int = 1, message: str = "") -> None:
            shown.update(task, advance=steps, note=message)

        yield advance
