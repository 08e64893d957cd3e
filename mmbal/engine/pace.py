"""How fast a training run is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

STEPS = 3  # batches after which the time is forecast; the first one also sets up what later ones use
EVALUATED = 0.32  # cost of a sample's evaluation over that of its training


class Pace:
    """Samples a second of one epoch after the other, of the training alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen, self._began = 0, clock()
        self._batches = self._later = 0
        self._first = 0.0

    def batch(self, samples: int) -> float | None:
        """A batch is done. Once, after a few batches, this is the seconds of a sample by those after the first batch."""
        self._seen += samples
        self._batches += 1
        if self._batches == 1:
            self._first = self._clock()
        elif self._batches <= STEPS:
            self._later += samples
        return (self._clock() - self._first) / self._later if self._batches == STEPS else None

    def epoch(self) -> str:
        """The rate of the epoch that has ended, as text; the next one begins."""
        text = f"{self._seen / max(self._clock() - self._began, 1e-6):,.0f} samples/s"
        self._seen, self._began = 0, self._clock()
        return text


def epoch_seconds(training: float, splits: Mapping[str, int]) -> float:
    """Seconds of an epoch with its evaluation, from those of its ``training``; ``splits`` says the samples of each split."""
    held_out = splits.get("val", 0) + splits.get("test", 0)
    return training * (1 + EVALUATED * held_out / max(splits.get("train", 0), 1))
