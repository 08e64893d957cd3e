"""Reads tables of numbers, one row a sample: logits, probabilities in many forms, features. Each must fit the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmbal.errors import DataError
from mmbal.predictions.columns import Array, numbers
from mmbal.predictions.scores import (
    LARGEST,
    PROBABILITY_FLOOR,
    WORD_OF_COLUMN,
    as_logits,
    base_of_logarithms,
    bounded,
    common_sum,
    form_of,
    form_of_column,
    looks_percent,
)

MOST = 1e30  # magnitude of a feature; far beyond, figures would overflow


@dataclass
class ScoreTables:
    """The tables among the arrays ``given`` for ``n`` samples; ``notes`` collects what was done to read them.

    ``width``: the number of classes as a message names it. ``present``: where a modality is there, by modality. ``many``:
    whether the labels show more than two classes. ``told``: whether the producer says that all scores are logits.
    """

    given: Mapping[str, Array]
    n: int
    width: int | str
    present: Mapping[str, Array]
    many: bool
    told: bool
    notes: list[str]

    def alone(self, key: str, m: str) -> Array:
        """Logits of one modality's own decision, from logits or probabilities; rows without it are 0."""
        if key.startswith("logits_"):
            return self.scores(key, None, m)
        table = self.table(key)
        here = self.present.get(m, np.ones(self.n, dtype=bool))
        told = form_of(table[here])
        if told.form == "logits":
            if (table[here] < 0).any():
                raise DataError(f"'{key}' holds negative values, so these are not probabilities.")
            if table[here].max(initial=0) > 1:
                raise DataError(f"'{key}' holds {table[here].max():g}, so these are not probabilities.")
        elif told.form != "probabilities":
            self.notes.append(f"'{key}' was taken for {told.words}")
        if told.odd:
            self.notes.append(told.odd_rows(key, int(np.flatnonzero(here)[told.odd[0]])))
        form = "probabilities" if told.form == "logits" else told.form
        return np.where(here[:, None], as_logits(table, form, key), 0.0)

    def scores(self, key: str, c: int | None, m: str = "") -> Array:
        """An array of logits ``(N, C)``, of modality ``m`` if any. Probabilities are told of, and their logarithms taken."""
        table = self.table(key)
        here = self.present.get(m, np.ones(self.n, dtype=bool))
        table, floored = bounded(table)
        if floored:
            self.notes.append(
                f"'{key}' holds the logarithm of 0 in {floored} samples: it was replaced by that of {PROBABILITY_FLOOR:g}"
            )
        table = self.finite(table, key, here)
        if c is not None:
            self.fits(table, key, c)
        if key.startswith("contribution_"):
            return table
        if self.given[key].dtype.kind in "iu" and not np.isin(table[here], (0, 1)).all():
            self.notes.append(f"'{key}' holds whole numbers ({self.given[key].dtype}): are they logits?")
        if key.startswith("subset_") or self.told:
            return table
        told = form_of(table[here])
        if told.odd:
            self.notes.append(told.odd_rows(key, int(np.flatnonzero(here)[told.odd[0]])))
        if told.form == "logits":
            self._doubted(key, table[here])
            if looks_percent(table[here]):
                self.notes.append(
                    f"'{key}' lies between 0 and 100, as percent do, and the rows do not sum to 100; it was taken for logits"
                )
            return table
        if np.isin(table[here], (0, 1)).all():
            self.notes.append(f"'{key}' holds 0 and 1 only: decisions without confidences")
            return table
        if told.form == "one-vs-rest":
            self.notes.append(
                f"'{key}' lies between 0 and 1, as sigmoids do; it was taken for logits. Give probabilities as "
                f"probabilities_<modality>"
            )
            return table
        if key == "fused" and any(k.startswith("contribution_") for k in self.given):
            return table
        self.notes.append(f"'{key}' holds {told.words}, not logits: their logarithms were taken")
        return np.where(here[:, None], as_logits(table, told.form, key), table)

    def _doubted(self, key: str, table: Array) -> None:
        """Notes on logits that look like votes, or like logarithms to another base."""
        total = common_sum(table) if len(table) else None
        if total is not None:
            self.notes.append(
                f"every row of '{key}' sums to {total:.4g}, as votes and shares do; it was taken for logits"
            )
        base = base_of_logarithms(table) if len(table) else None
        if base is not None:
            self.notes.append(
                f"'{key}' holds logarithms of probabilities to the base {base}, but was taken for logits: multiply it by "
                f"{np.log(base):.3f}"
            )

    def table(self, key: str) -> Array:
        """Numbers ``(N, C)``; one column of a decision between two classes becomes two."""
        value = self.given[key]
        if value.shape[:1] != (self.n,) or value.ndim > 2:
            raise DataError(f"'{key}' has shape {value.shape}, expected ({self.n}, {self.width}).")
        table = numbers(value, key)
        if table.ndim == 2 and table.shape[1] > 1:
            return table
        if self.many:
            raise DataError(f"'{key}' has shape {value.shape}, expected ({self.n}, {self.width}): one column a class.")
        column = table.reshape(self.n)
        form = form_of_column(column, key.startswith("probabilities_"))
        if form != "logits":
            if form == "percent":
                column = column / 100
            self.notes.append(
                f"'{key}' has one score a sample: it was taken for the {WORD_OF_COLUMN[form]} of the second class"
            )
            both = np.stack([1 - column, column], axis=1)
            return both if key.startswith("probabilities_") else as_logits(both, "probabilities", key)
        self.notes.append(f"'{key}' has one score a sample: it was taken for the logit of the second class")
        return np.stack([np.zeros(self.n), column], axis=1)

    def fits(self, value: Array, key: str, c: int) -> None:
        """Raise DataError where the table has another shape than ``(N, C)``."""
        if value.shape != (self.n, c):
            raise DataError(f"'{key}' has shape {value.shape}, expected ({self.n}, {c}).")

    def matrix(self, key: str, columns: int | None, m: str) -> Array:
        """Finite numbers ``(N, columns)`` of a modality; any number of columns for None."""
        value = self.given[key]
        if value.ndim != 2 or value.shape[0] != self.n or columns not in (None, value.shape[1]):
            raise DataError(f"'{key}' has shape {value.shape}, expected ({self.n}, {columns if columns else 'D'}).")
        found = self.finite(numbers(value, key), key, self.present.get(m))
        if (most := float(np.abs(found).max(initial=0.0))) > MOST:
            raise DataError(f"'{key}' holds {most:.3g}: no feature is so large.", "Look for a wrong scale or type.")
        return found

    def finite(self, value: Array, key: str, here: Array | None = None) -> Array:
        """The values; raises DataError where one of those that are ``here (N,)`` is not finite. The others become finite."""
        if here is not None and not here.all():  # where the modality is missing the values do not matter
            value = value.copy()
            value[~here] = np.nan_to_num(value[~here], nan=0.0, posinf=0.0, neginf=0.0)
        most = float(np.max(value, where=np.isfinite(value), initial=0.0))
        if most > LARGEST and not self.told and not key.startswith(("features", "weight", "bias")):
            raise DataError(f"'{key}' holds {most:.3g}: no score is so large.", "Look for a wrong scale or type.")
        bad = ~np.isfinite(value)
        if bad.any():
            row = int(np.argwhere(bad)[0][0])
            kind = "NaN" if np.isnan(value[bad]).any() else "infinity"
            half = self.given[key].dtype == np.float16 and kind == "infinity"
            raise DataError(
                f"'{key}' holds {kind} in {int(bad.reshape(len(bad), -1).any(axis=1).sum())} samples (first: row {row}).",
                "Half precision overflows at 65504: save it as float32."
                if half
                else "Mark missing modalities with present_<modality>; give the logarithm of a small number, not of zero.",
            )
        return value
