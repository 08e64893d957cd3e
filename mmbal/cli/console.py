"""The only file that uses Rich: data go to stdout, progress and messages to stderr; with --json, JSON alone.

:func:`open_streams` makes both work wherever they lead: where an encoding has no such character, a plain
one is written, and a pipe whose reader has gone ends the command without a message.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, Protocol

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid
from rich.text import Text

from mmbal.tables import Fitted, Table
from mmbal.text import duration, sentence

CLOSED_PIPE = 141  # exit code where the reader of the output has gone: 128 + SIGPIPE, as other programs end then
STAND_INS = {
    **dict.fromkeys("–—−‑", "-"), **dict.fromkeys("█▉▊▋", "#"), **dict.fromkeys("▌▍▎▏", "-"), "·": "|", "▶": ">", "◀": "<",
    "…": "...", "×": "x", "→": "->", "±": "+-", "≥": ">=", "≤": "<=", "\u00a0": " ", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
PIPED_WIDTH = 120  # a pipe has no width of its own; columns must not be cut there
NO_BREAK = "\u00a0"
SOON = 2.0  # seconds of silence before a command says what it is doing


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
err = Console(markup=False, stderr=True, highlight=False, soft_wrap=True)


class Advance(Protocol):
    """What `progress` hands to the worker: call it after each step, with a line of figures if there is one."""

    def __call__(self, steps: int = 1, message: str = "") -> None: ...


class _Stream(io.TextIOWrapper):
    """Text to a stream of bytes; ends the program where the reader has gone."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._leave()

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> NoReturn:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what is still buffered has somewhere to go
        raise SystemExit(CLOSED_PIPE)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """For characters that an encoding does not have: plain ones of the same meaning, else their escaped code."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    plain = (STAND_INS.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in text)
    return "".join(plain), error.end


def open_streams() -> None:
    """Make stdout and stderr take every character and every end of a pipe; done once, by the program's entry point."""
    codecs.register_error("mmbal.stand_in", _stand_in)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Stream):
            encoding, lines = stream.encoding, stream.line_buffering
            setattr(sys, name, _Stream(stream.detach(), encoding, "mmbal.stand_in", line_buffering=lines))


def close_streams() -> None:
    """Write what is still in the buffers."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


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
    table = fitted.table
    grid = Grid(title=Text(table.title) if table.title else None, box=SIMPLE_HEAD, title_justify="left")
    grid.title_style = "bold"
    for k, (head, column) in enumerate(zip(table.heads(fitted.intervals), table.columns, strict=True)):
        left = k == 0 or column.left or column.bar
        grid.add_column(Text(head), justify="left" if left else "right", no_wrap=not column.wrap, overflow="fold")
    for row in table.rows(fitted.intervals):
        grid.add_row(*map(Text, row))
    out.print(grid)
    if table.caption:
        out.print(Text(table.caption, style="italic"))


def say(text: str = "", style: str = "") -> None:
    """Print a line of the answer itself on stdout (plain text: brackets are not markup)."""
    out.print(Text(text, style=style))


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
    err.print(Text(text, style="dim"))


def warn(texts: Iterable[str]) -> None:
    """Print what looks wrong in what was read on stderr, a line each."""
    for text in texts:
        err.print(Text("Warning: ", style="yellow") + Text(sentence(text)))


def told_of(path: Any, meta: Mapping[str, Any], warnings: Iterable[str]) -> None:
    """Print on stderr how predictions were read from ``path``: the heads that features got, and what looks wrong."""
    if "heads" in meta:
        note(f"{path} holds features without decisions: {meta['heads']}.")
    warn(warnings)


def fail(message: str, hint: str = "", label: str = "Error", page: str = "") -> None:
    """Print an error, or what else a command ends with, its hint and the page that helps on stderr."""
    err.print(Text(f"{label}: ", style="bold red") + Text(message))
    if hint:
        err.print(Text(f"{'':{len(label) + 2}}{hint}"))
    if page and "docs/" not in hint:
        err.print(Text(f"{'':{len(label) + 2}}See {page}.", style="dim"))


def print_json(document: Any) -> None:
    """Print one JSON document on stdout, and nothing else may go there; escaped where the encoding is not Unicode's."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(document, indent=2, ensure_ascii=not encoding.startswith("utf"), allow_nan=False)
    sys.stdout.write(text + "\n")


@contextmanager
def working(what: str) -> Iterator[None]:
    """Name the work in hand once it takes longer than ``SOON`` seconds, and say at its end how long it took."""
    begun = time.monotonic()
    timer = threading.Timer(SOON, note, [f"{what}. This mostly takes less than a minute."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    took = time.monotonic() - begun
    if took > SOON:
        note(f"{what}: {duration(took)} in all.")


def _lines(total: int | None) -> Advance:
    """Messages as lines; the time left follows from the mean time between them, where the ``total`` is known."""
    begun, done, told = time.monotonic(), 0, 0

    def line(steps: int = 1, message: str = "") -> None:
        nonlocal done, told
        done += steps
        if message:
            told += bool(steps)
            left = (time.monotonic() - begun) / told * ((total or 0) - done) if steps else 0
            note(message + (f" ({duration(max(left, 1.0))} left)" if left > 0 else ""))

    return line


@contextmanager
def progress(description: str, total: int | None, *, of_bytes: bool = False) -> Iterator[Advance]:
    """A progress bar on stderr where that is a terminal; otherwise plain lines, each a message and the time left.

    What took longer than a second says at its end how long that was.
    """
    begun = time.monotonic()
    with ExitStack() as stack:
        if err.is_terminal:
            yield stack.enter_context(_bar(description, total, of_bytes))
        else:
            yield _lines(total)
    took = time.monotonic() - begun
    if took > 1.0:
        note(f"{description}: {duration(took)} in all")


class Bars:
    """Progress of work whose amount is told with each step: ``bars(steps, total, of)``; a new one for each new task.

    ``doing`` names what is done, by what is counted. On a terminal it is a bar with the rate; otherwise a line after
    ``FIRST`` seconds and then every ``EVERY``, with the rate and the time left. Use it as a context manager.
    """

    FIRST, EVERY = 3.0, 15.0

    def __init__(self, doing: Mapping[str, str]) -> None:
        self._doing = doing
        self._stack = ExitStack()
        self._shown: tuple[int, str] | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, steps: int, total: int, of: str) -> None:
        if (total, of) != self._shown:
            self._stack.close()
            self._advance = self._stack.enter_context(progress(self._doing[of], total, of_bytes=of == "bytes"))
            self._shown, self._done, self._before, self._began = (total, of), 0, steps, time.monotonic()
            self._next = self._began + self.FIRST
        self._done += steps
        now = time.monotonic()
        rate = (self._done - self._before) / max(now - self._began, 1e-3)
        speed = f"{rate / 1e6:.1f} MB/s" if of == "bytes" else f"{rate:.0f}/s"
        if err.is_terminal:
            self._advance(steps, speed)
        elif now > self._next and rate > 0:
            self._next = now + self.EVERY
            share = f"{100 * self._done / max(total, 1):.0f} %"
            note(f"{self._doing[of]}: {share}, {speed}, {duration(max((total - self._done) / rate, 1.0))} left")


@contextmanager
def _bar(description: str, total: int | None, of_bytes: bool) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=err, transient=True) as shown:
        task = shown.add_task(description, total=total, note="")

        def advance(steps: int = 1, message: str = "") -> None:
            shown.update(task, advance=steps)
            if message:  # it stays until the next one
                shown.update(task, note=message)

        yield advance
