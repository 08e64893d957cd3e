"""Randomness that depends on (seed, epoch) alone, so that a resumed run draws what an uninterrupted one would."""

from __future__ import annotations

import numpy as np
import torch


def seed_all(seed: int, *position: int) -> None:
    """Seed torch's generators from the run's seed and a position in it (an epoch)."""
    torch.manual_seed(int(np.random.SeedSequence([seed, *position]).generate_state(1, dtype=np.uint64)[0]) >> 1)


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA, then MPS, then CPU; raises UsageError for a device that is not there."""
    from mmbal.errors import UsageError

    if name == "auto":
        mps = getattr(torch.backends, "mps", None)
        name = "cuda" if torch.cuda.is_available() else "mps" if mps is not None and mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"The device '{name}' can't be used ({str(error).splitlines()[0]}).", "Try --device cpu."
        ) from None
    return device
