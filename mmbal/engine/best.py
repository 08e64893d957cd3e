"""Which epoch of a run is its best on the validation split, and whether training has stopped getting better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Entry = dict[str, Any]  # what is recorded of an epoch


def best_epoch(history: Sequence[Entry], select: str) -> int:
    """The epoch (from 1) of the last stage with the best validation figure; ties go to the lower NLL, then to the earlier.

    Earlier stages train something other than the final model, such as teachers.
    """
    history = [entry for entry in history if entry["stage"] == history[-1]["stage"]]

    def key(entry: Entry) -> tuple[float, float]:
        val = entry["val"]
        return (-val["accuracy"], val["nll"]) if select == "accuracy" else (val["nll"], -val["accuracy"])

    return int(min(history, key=key)["epoch"])


def stopped_early(history: Sequence[Entry], select: str, patience: int | None) -> bool:
    """Whether validation has not got better for ``patience`` epochs; without a patience it never stops."""
    if patience is None or not history:
        return False
    return len(history) - best_epoch(history, select) >= patience
