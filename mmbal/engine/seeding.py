"""Randomness that depends on (seed, epoch) alone, so that a resumed run draws what an uninterrupted one would."""

from __future__ import annotations

import numpy as np
import torch


def seed_all(seed: int, *position: int) -> None:
    """Seed torch's generators from the run's seed and a position in it (an epoch)."""
    torch.manual_seed(int(np.random.SeedSequence([seed, *position]).generate_state(1, dtype=np.uint64)[0]) >> 1)


DEVICES = ("auto", "cpu", "cuda", "mps")  # what is offered where a device is not known


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA, then MPS, then CPU; raises UsageError for a device that is not there or not known."""
    from mmbal.errors import UsageError, did_you_mean

    if name == "auto":
        mps = getattr(torch.backends, "mps", None)
        name = "cuda" if torch.cuda.is_available() else "mps" if mps is not None and mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"There is no device '{name}'.", did_you_mean(name.partition(":")[0], DEVICES)) from None
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"The device '{name}' can't be used ({str(error).splitlines()[0]}).", "Try --device cpu."
        ) from None
    return device
