"""When a training saves within an epoch, and when it stops before its end: Ctrl-C, SIGTERM, a limit of time."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from mmbal.errors import UsageError
from mmbal.torchrun import is_launched

# The signals that ask a training to stop, and what a second one does.
SIGNALS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}

PASSED_ON = 5.0  # seconds in which a signal is the one that torchrun passes on, and no second one


@dataclass(frozen=True)
class Saving:
    """``every`` seconds a save within an epoch (None: only where the training stops), and the ``deadline`` to stop at.

    The deadline is a reading of `time.monotonic`, which all processes of a machine share; the time of day may jump.
    """

    every: float | None = None
    deadline: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another machine, the deadline goes by the time of day: each machine's `time.monotonic` is its own."""
        at = None if self.deadline is None else self.deadline - time.monotonic() + time.time()
        return _received, (self.every, at)

    @classmethod
    def of(cls, save_every: float | None = None, max_hours: float | None = None) -> Saving:
        """From minutes and hours, which count from now; raises UsageError where one is no time."""
        for name, value in (("--save-every", save_every), ("--max-hours", max_hours)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} {value} is no length of time.", "Give a number of 0 or more.")
        return cls(
            None if save_every is None else 60 * save_every,
            None if max_hours is None else time.monotonic() + 3600 * max_hours,
        )


def _received(every: float | None, at: float | None) -> Saving:
    return Saving(every, None if at is None else at - time.time() + time.monotonic())


class Watch:
    """A context in which Ctrl-C and SIGTERM ask the training to stop at the next batch; a second one stops it at once.

    :attr:`why` is the beginning of the sentence that says why the training is to stop, empty while it is not. The
    deadline has come when one more step as long as the longest so far would go beyond it.
    """

    def __init__(self, saving: Saving, tell: Callable[[str], None]) -> None:
        self.saving = saving
        self.why = ""
        self._tell = tell
        self._before: dict[int, Any] = {}
        self._stepped = self._saved = time.monotonic()
        self._longest = self._asked_at = 0.0

    def __enter__(self) -> Watch:
        for number in SIGNALS:
            # What the caller has chosen to ignore stays ignored; only the main thread can be told of signals.
            with suppress(ValueError):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def step(self) -> None:
        """A batch, or what comes after an epoch, is done."""
        now = time.monotonic()
        self._longest, self._stepped = max(self._longest, now - self._stepped), now
        if not self.why and self.saving.deadline is not None and now + self._longest >= self.saving.deadline:
            self.why = "Stopped before the end of --max-hours"

    @property
    def due(self) -> bool:
        """Whether it is time to save within the epoch."""
        return self.saving.every is not None and time.monotonic() - self._saved >= self.saving.every

    def saved(self) -> None:
        """The state is saved."""
        self._saved = time.monotonic()

    def _asked(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if is_launched() and self.why and now - self._asked_at < PASSED_ON:
            return
        self._asked_at = now
        for each in self._before if not is_launched() or self.why else ():
            signal.signal(each, SIGNALS[each])
        if self.why and is_launched():
            signal.raise_signal(number)
            return
        self.why = "Interrupted"
        self._tell("Stopping after this batch, whose state is saved. A second signal (Ctrl-C) stops at once.")
