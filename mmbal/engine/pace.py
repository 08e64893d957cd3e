"""How fast a training run is: told once soon after it begins, and after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable

from mmbal.text import duration

SOON = 3.0  # seconds after which the first estimate is told


class Pace:
    """Samples a second of one run, whose epochs have ``samples`` each; ``tell`` gets the first estimate.

    The estimate is of the training alone: validation, and what a method does between epochs, come on top.
    """

    def __init__(self, samples: int, epochs: int, tell: Callable[[str], None]) -> None:
        self.samples = samples
        self.epochs = epochs
        self._tell = tell
        self._told = False
        self._seen, self._began = 0, time.monotonic()

    def batch(self, samples: int) -> None:
        """A batch is done."""
        self._seen += samples
        if not self._told and time.monotonic() - self._began > SOON:
            self._told = True
            whole = duration(self.epochs * self.samples / self._rate())
            self._tell(f"{self._rate():,.0f} samples/s: about {whole} for {self.epochs} epochs")

    def epoch(self) -> str:
        """The rate of the epoch that has ended, as text; the next one begins."""
        text = f"{self._rate():,.0f} samples/s"
        self._told = True
        self._seen, self._began = 0, time.monotonic()
        return text

    def _rate(self) -> float:
        return self._seen / max(time.monotonic() - self._began, 1e-6)
