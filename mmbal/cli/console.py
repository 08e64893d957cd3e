"""The only file that knows Rich: data go to stdout, progress and messages to stderr, JSON alone where it was asked for."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mmbal.tables import Table as Tabular
from mmbal.text import bar as bar

PIPED_WIDTH = 120  # a pipe has no width of its own; columns must not be cut there
NO_BREAK = "\u00a0"

out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)


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


def show(*tables: Tabular) -> None:
    """Print tables on stdout as they fit its width, and say once on stderr what had no room."""
    dropped: list[str] = []
    intervals = True
    for shown in tables:
        fitted = shown.fitting(out.width, cell_len)
        dropped += fitted.dropped
        intervals = intervals and fitted.intervals
        _, *others = fitted.table.columns
        right = [column.name for column in others if not (column.left or column.bar)]
        caption, title = fitted.table.caption, fitted.table.title
        table(fitted.table.head, fitted.table.rows(fitted.intervals), title=title, numeric=right, caption=caption)
    missing = [*dict.fromkeys(dropped), *([] if intervals else ["the intervals"])]
    if missing:
        note(f"The terminal is too narrow for: {', '.join(missing)}. A wider one, --json or a file has them.")


def say(text: str = "", style: str = "") -> None:
    """Print a line of the answer itself on stdout (plain text: brackets are not markup)."""
    out.print(Text(text, style=style))


def paragraph(sentences: Iterable[str]) -> None:
    """Print sentences as lines of the terminal's width; a number and its percent sign stay together."""
    text = textwrap.fill(" ".join(sentences).replace(" %", NO_BREAK + "%"), out.width)
    say(text.replace(NO_BREAK, " "))


def commands(lines: Iterable[tuple[str, str]]) -> None:
    """Print commands worth typing next, each with its purpose, on one line where all have room."""
    told = list(lines)
    width = max((len(command) for command, _ in told), default=0)
    fits = all(width + len(purpose) + 4 <= out.width for _, purpose in told)
    for command, purpose in told:
        say(f"  {command:<{width}}  {purpose}" if fits else f"  {command}\n      {purpose}", style="cyan")


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


def _lines(total: int | None) -> Advance:
    """Messages as lines; the time left follows from the mean time between them, where the ``total`` is known."""
    begun, done, told = time.monotonic(), 0, 0

    def line(steps: int = 1, message: str = "") -> None:
        nonlocal done, told
        done += steps
        if message:
            told += 1
            left = (time.monotonic() - begun) / told * ((total or 0) - done)
            note(message + (f" ({duration(left)} left)" if left > 0 else ""))

    return line


def duration(seconds: float) -> str:
    """``50 s``, ``3 min`` or ``2 h 5 min``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def progress(description: str, total: int | None, *, of_bytes: bool = False) -> Iterator[Advance]:
    """A progress bar on stderr where that is a terminal; otherwise plain lines, each a message and the time left."""
    if not err.is_terminal:
        yield _lines(total)
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
