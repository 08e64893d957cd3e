"""What the user's function returns, as a table of logits ``(B, C)``: arrays, tensors, frames, outputs of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbal.errors import DataError
from mmbal.predictions.columns import Array, numbers, plain
from mmbal.predictions.scores import Form, as_logits, bounded, form_of

KEYS = ("logits", "fused", "probabilities", "probs")


def table_of(given: Any) -> tuple[Array, tuple[str, ...] | None]:
    """The scores ``(B, C)`` of an answer, and the names of the classes where it has them (a DataFrame).

    Taken are arrays, tensors, lists, DataFrames, a mapping or an object with ``logits`` or ``probabilities``, and the
    first entry of a tuple. Raises DataError for anything else.
    """
    if isinstance(given, Mapping):
        key = next((key for key in KEYS if key in given), None)
        if key is None:
            raise DataError(f"predict returned a mapping without 'logits' (keys: {', '.join(map(str, given))}).")
        given = given[key]
    elif not isinstance(given, np.ndarray) and hasattr(given, "logits"):
        given = given.logits
    if isinstance(given, tuple) and given and hasattr(given[0], "shape"):
        given = given[0]
    names = None
    if hasattr(given, "iloc"):
        if hasattr(given, "columns"):
            names = tuple(str(name) for name in given.columns)
        given = given.to_numpy()
    if given is None or isinstance(given, (str, bytes)):
        raise DataError(f"predict returned {'nothing' if given is None else 'a text'}, not scores (B, C).")
    table = numbers(plain(given, "predict"), "predict")
    return (table[:, None] if table.ndim == 1 else table), names


@dataclass(frozen=True)
class Reading:
    """How the scores are read, decided once on the answer to the full inputs: their form and number of columns."""

    form: Form
    columns: int
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, table: Array, names: tuple[str, ...] | None, scores: str = "auto") -> Reading:
        """Find the form of ``table (N, C)``; one column is that of the second of two classes.

        ``scores``: ``logits`` or ``probabilities`` where the user says so.
        """
        if scores in ("logits", "probabilities"):
            return cls(scores, table.shape[1], names)  # type: ignore[arg-type]
        if table.shape[1] == 1:
            share = bool(np.isfinite(table).all() and table.min() >= 0 and table.max() <= 1)
            return cls("probabilities" if share else "logits", 1, names)
        return cls(form_of(table).form, table.shape[1], names)

    @property
    def count(self) -> int:
        """Number of classes."""
        return max(self.columns, 2)

    def logits(self, table: Array) -> Array:
        """Logits ``(B, C)`` of the scores."""
        if self.columns == 1:
            first = 1 - table if self.form == "probabilities" else np.zeros_like(table)
            table = np.concatenate([first, table], axis=1)
        return as_logits(bounded(table)[0] if self.form == "logits" else table, self.form, "predict")


def checked(table: Array, n: int, columns: int | None) -> Array:
    """The scores of ``n`` rows; raises DataError for another number of rows or columns, and for NaN."""
    if table.ndim != 2 or len(table) != n:
        what = f"{len(table)} rows" if table.ndim == 2 else f"an array of shape {table.shape}"
        raise DataError(f"predict returned {what} for a batch of {n}; (B, C) is expected, one row a sample.")
    if columns is not None and table.shape[1] != columns:
        raise DataError(f"predict returned {table.shape[1]} columns, but {columns} for the full inputs.")
    broken = np.isnan(table).any(axis=1) | np.isposinf(table).any(axis=1)
    if broken.any():
        raise DataError(f"predict returned NaN or infinity in {int(broken.sum())} of {n} rows.")
    return table
