"""Samples of several predictions matched by their ids: the one place where rows are paired."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmbal.errors import DataError
from mmbal.predictions.format import Array, Predictions


def places(predictions: Predictions) -> dict[str, int]:
    """Id -> row; raises DataError where an id comes twice."""
    found = {name: row for row, name in enumerate(predictions.ids.tolist())}
    if len(found) < len(predictions):
        raise DataError(
            "The ids repeat within one of the predictions, so samples can't be paired.", "Make 'ids' unique."
        )
    return found


def shared_rows(given: Sequence[Predictions]) -> list[Array]:
    """The rows of the samples that all have, one array for each of ``given``, in the order of the first.

    Raises DataError where there is none, where ids repeat, or where the same id has another label.
    """
    tables = [places(p) for p in given]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    if not shared:
        raise DataError("No sample of the predictions has the same id.", "Write 'ids' into all of them.")
    rows = [np.array([table[name] for name in shared], dtype=np.int64) for table in tables]
    truth = [[p.classes[k] for k in p.labels[own]] for p, own in zip(given, rows, strict=True)]
    if any(names != truth[0] for names in truth):
        raise DataError("The same ids have different labels in the predictions.")
    return rows


def rows_of(predictions: Predictions, ids: Sequence[str]) -> Array:
    """The rows of these ids, in their order; raises DataError naming one that is not there."""
    table = places(predictions)
    missing = [name for name in ids if name not in table]
    if missing:
        raise DataError(
            f"The predictions have no row for {len(missing)} of {len(ids)} samples, such as '{missing[0]}'."
        )
    return np.array([table[name] for name in ids], dtype=np.int64)
