"""How long a command's work takes: said within its first seconds, kept up to date, and in all at its end.

What is told is the same everywhere: the share that is done (mmbal/progress.py), the time left, and the lines of figures that
the work itself gives. On a terminal it is one live view; elsewhere it is plain lines on stderr.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from mmbal.cli.console import err, grid_of, note
from mmbal.progress import listening
from mmbal.tables import Column, Table
from mmbal.text import Line, duration
from mmbal.torchrun import is_first

SOON = 2.0  # seconds after which the time is told first; what is over before needs no word
EVERY = 15.0  # seconds between two lines of work that has no figures of its own, at most
SURE = 0.1  # share from which on the time left can be told soon after the beginning
LATE = 10.0  # seconds after which a small share tells enough
ROWS = 8  # lines of figures in a live view


class Work:
    """Work in hand: the share of it that is done, and its latest figures.

    As a function it is what the engine calls a report: ``work(steps, line)`` tells a line. :meth:`reach` takes the share
    where the work counts for itself; otherwise it is heard from :mod:`mmbal.progress`.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.share = 0.0
        self.speed = ""
        self.lines: deque[str] = deque(maxlen=ROWS)
        self._from, self._began = 0.0, time.monotonic()
        self._first: tuple[float, float] | None = None  # the first share that was reached, and when
        self._next = self._began + SOON
        self._stage: Work | None = None

    def __call__(self, steps: int, message: str) -> None:
        if not message:
            return
        self.lines.append(message)
        if not err.is_terminal:
            left = self.left()
            note(message + (f" ({left} left)" if left else ""))
            self._wait()

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Other work within this one, which is told by itself."""
        self._stage = stage = Work(what)
        with listening(stage.reach), _soon(stage):
            yield
        self._stage = None
        stage.end()

    def end(self) -> None:
        """Print how long it took in all, where that is worth a word."""
        if self.took() > SOON:
            note(f"{self.what}: {duration(self.took())} in all.")

    def begin(self, share: float) -> None:
        """What was done before counts for no speed."""
        self._from = self.share = share

    def reach(self, share: float, speed: str = "") -> None:
        """This share is done."""
        self.share, self.speed = share, speed
        if self._first is None and share > self._from:
            self._first = (share, self.took())
        if not err.is_terminal and time.monotonic() > self._next:
            self.tell()

    def tell(self) -> None:
        """Print a line, once the time left can be told."""
        left = self.left()
        if left:
            speed = f"{self.speed}, " if self.speed else ""
            note(f"{self.what}: {100 * self.share:.0f} %, {speed}about {left} left")
            self._wait()

    def left(self) -> str:
        """The time left at the speed so far; empty where it is not known, or nothing is left."""
        speed = self._speed()
        return duration(max((1 - self.share) / speed, 1.0)) if speed > 0 and self.share < 1 else ""

    def _speed(self) -> float:
        """Shares a second; 0 where it can't be told yet. The first share holds what is done but once, such as imports."""
        if self.share - self._from >= SURE:
            return (self.share - self._from) / self.took()
        share, since = self._first or (0.0, self.took())
        return (self.share - share) / (self.took() - since) if self.took() > max(LATE, since + SOON) else 0.0

    def _wait(self) -> None:
        """The first estimates are the worst, so they are soon followed by others."""
        self._next = time.monotonic() + min(EVERY, 2 * self.took())

    def took(self) -> float:
        """Seconds until now."""
        return time.monotonic() - self._began

    def __rich__(self) -> Group:
        """The live view: what it is, a bar and the time left; below it the latest figures."""
        if self._stage is not None:
            return self._stage.__rich__()
        left = self.left()
        told = ", ".join(filter(None, [self.speed, f"about {left} left" if left else duration(self.took())]))
        share, bar = f"{100 * self.share:.0f} %", min(24, err.width // 4)
        what = Text(self.what)
        what.truncate(err.width - bar - len(share) - len(told) - 4, overflow="ellipsis")
        head = Grid.grid(padding=(0, 1))
        for _ in range(4):
            head.add_column(no_wrap=True)
        head.add_row(what, ProgressBar(total=1.0, completed=self.share, width=bar), Text(share), Text(told))
        table = _rows(self.lines)
        below: list[RenderableType] = [] if table is None else [grid_of(table.fitting(err.width, cell_len))]
        return Group(head, *below)


def _rows(lines: deque[str]) -> Table | None:
    """Lines of figures as a table; a line without figures stands alone in its row."""
    found = list(lines)
    names = list(dict.fromkeys(name for line in found if isinstance(line, Line) for name in line.figures))
    if not found:
        return None
    columns = [Column("", [line.of if isinstance(line, Line) else line for line in found], wrap=True)]
    for k, name in enumerate(names):
        cells = [line.figures.get(name) if isinstance(line, Line) else None for line in found]
        columns.append(Column(name, cells, drop=k + 1))
    return Table.of(columns)


@contextmanager
def working(what: str) -> Iterator[Work]:
    """Show the progress of the block on stderr; after more than ``SOON`` seconds also how long it took in all."""
    work = Work(what)
    if not is_first():
        yield work
        return
    with ExitStack() as stack:
        stack.enter_context(listening(work.reach, work.stage))
        if err.is_terminal:
            stack.enter_context(Live(work, console=err, transient=True, redirect_stdout=False, redirect_stderr=False))
        stack.enter_context(_soon(work))
        yield work
    work.end()


@contextmanager
def _soon(work: Work) -> Iterator[None]:
    """Where lines are printed, tell of the work after ``SOON`` seconds, even if no part of it ends then."""
    if err.is_terminal:
        yield
        return
    timer = threading.Timer(SOON, work.tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Counted:
    """Progress of tasks that count for themselves, one after the other: ``counted(steps, total, of)``.

    ``doing`` names what is done, by what is counted. Use it as a context manager.
    """

    def __init__(self, doing: Mapping[str, str]) -> None:
        self._doing = doing
        self._stack = ExitStack()
        self._shown: tuple[int, str] | None = None

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, steps: int, total: int, of: str) -> None:
        whole = max(total, 1)
        if (total, of) != self._shown:
            self._stack.close()
            self._work = self._stack.enter_context(working(self._doing[of]))
            self._work.begin(steps / whole)
            self._shown, self._done, self._before = (total, of), steps, steps
            return
        self._done += steps
        rate = (self._done - self._before) / max(self._work.took(), 1e-3)
        self._work.reach(
            self._done / whole, f"{rate / 1e6:.1f} MB/s" if of == "bytes" else f"{rate:.{0 if rate > 9.5 else 1}f}/s"
        )


def counting(stack: ExitStack, what: str) -> Callable[[int, int, str], None]:
    """Progress of work that tells what is done and how much there is; it opens with the first call."""
    found: list[Work] = []

    def report(done: int, total: int, line: str) -> None:
        if not found:
            found.append(stack.enter_context(working(what)))
        found[0].reach(done / max(total, 1))

    return report
