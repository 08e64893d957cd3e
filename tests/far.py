"""What tests send to processes of other machines: modules that they can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np


def lost_once(item: tuple[str, int]) -> tuple[int, int]:
    """The square of a number; the process that is asked for 2 first dies over it. ``item``: a folder and the number."""
    folder, number = item
    mark = Path(folder) / "lost"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number, number * number


def lost_always(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def scores(batch: dict[str, Any]) -> np.ndarray:
    """Logits of two classes, a sum over both modalities."""
    total = 2 * batch["audio"].sum(axis=1) + batch["video"].sum(axis=1)
    return np.stack([-total, total], axis=1)
