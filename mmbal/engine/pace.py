"""How fast a training run is, told after each epoch."""

from __future__ import annotations

import time


class Pace:
    """Samples a second of one epoch after the other, of the training alone."""

    def __init__(self) -> None:
        self._seen, self._began = 0, time.monotonic()

    def batch(self, samples: int) -> None:
        """A batch is done."""
        self._seen += samples

    def epoch(self) -> str:
        """The rate of the epoch that has ended, as text; the next one begins."""
        text = f"{self._seen / max(time.monotonic() - self._began, 1e-6):,.0f} samples/s"
        self._seen, self._began = 0, time.monotonic()
        return text
