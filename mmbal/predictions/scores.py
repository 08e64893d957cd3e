"""What the numbers of a modality are: logits, probabilities, percent, or one-vs-rest probabilities; and logits of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmbal.errors import DataError

Array = np.ndarray
Form = Literal["logits", "probabilities", "percent", "one-vs-rest"]

PROBABILITY_FLOOR = 1e-12  # log of a probability of zero is not a number a rule can weigh
LARGEST = 1e8  # magnitude of a logit; beyond, figures would be rounding errors
SUM_TOLERANCE = 1e-2  # probabilities with many decimals sum to one up to this, also in half precision
MOST_TOLERANCE = 0.5  # however coarsely they are rounded
SHARE = 0.9  # of the rows that must sum to one; a note names the others
MIXED = 0.8  # share of other rows up to which a note names those that sum to one
FEWEST_ROWS = 10  # fewer numbers between 0 and 1 may be anything
FEWEST_DECIMALS: dict[Form, int] = {"probabilities": 2, "percent": 0, "one-vs-rest": 2}
WORDS: dict[str, str] = {
    "percent": "probabilities in percent",
    "one-vs-rest": "one-vs-rest probabilities (sigmoids: between 0 and 1, and the rows do not sum to 1)",
}
SINGLE = 1.2e-7  # relative error of a number in single precision
WORD_OF_COLUMN = {"probabilities": "probability", "percent": "probability, in percent,"}
DECIMALS = 4  # numbers with more are not rounded


@dataclass(frozen=True)
class Told:
    """The form that a table of scores ``(n, C)`` has, the decimals that it is rounded to, and the rows that do not fit it.

    Those are rows with another sum, or of logits the rows that look like probabilities.
    """

    form: Form
    decimals: int | None = None
    odd: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """The form in words, as in "taken for ..."."""
        return WORDS.get(self.form, self.form)

    def odd_rows(self, key: str, first: int) -> str:
        """Words for the rows that do not fit; ``first`` is how the caller counts the first of them."""
        n = f"{len(self.odd)} row{'s' if len(self.odd) > 1 else ''} of '{key}'"
        if self.form == "logits":
            return f"{n} sum to 1 or to 100 (first: row {first}), but the others do not: all were taken for logits"
        return f"the sum of {n} differs from that of the others (first: row {first})"

    @property
    def coarse(self) -> bool:
        """Whether probabilities are rounded so far that much of the confidence is lost."""
        return self.form in FEWEST_DECIMALS and self.decimals is not None and self.decimals < FEWEST_DECIMALS[self.form]


def form_of(table: Array) -> Told:
    """Find the form of scores ``(n, C)`` by their range and the sums of their rows."""
    if not table.size or table.shape[1] < 2 or not np.isfinite(table).all() or table.min() < 0:
        return Told("logits")
    decimals = next((d for d in range(DECIMALS + 1) if _rounded(table, d)), None)
    slack = 0.0 if decimals is None else table.shape[1] / 2 * 10.0**-decimals
    sums, partly = table.sum(axis=1), np.zeros(len(table), dtype=bool)
    for form, whole in (("probabilities", 1.0), ("percent", 100.0)):
        tolerance = min(max(slack, SUM_TOLERANCE * whole), MOST_TOLERANCE * (1.0 if whole == 1.0 else 10.0))
        odd = np.abs(sums - whole) > tolerance
        if table.max() <= whole + tolerance and odd.mean() <= 1 - SHARE:
            return Told(form, decimals, tuple(np.flatnonzero(odd).tolist()))  # type: ignore[arg-type]
        partly |= ~odd
    if len(table) >= FEWEST_ROWS and table.max() <= 1 and not np.isin(table, (0, 1)).all():
        return Told("one-vs-rest", decimals)
    some = len(table) >= FEWEST_ROWS and partly.mean() >= 1 - MIXED
    return Told("logits", decimals, tuple(np.flatnonzero(partly).tolist()) if some else ())


def _rounded(table: Array, decimals: int) -> bool:
    """Whether no number has more decimals, up to the rounding of single precision."""
    return bool((np.abs(np.round(table, decimals) - table) <= 1e-9 + SINGLE * np.abs(table)).all())


def form_of_column(column: Array, probabilities: bool) -> Form:
    """The form of one score a sample ``(n,)``, of a decision between two classes; ``probabilities``: its name says so."""
    known = column[np.isfinite(column)]
    if not len(known) or known.min() < 0 or known.max() > 100:
        return "probabilities" if probabilities else "logits"
    between = known.max() <= 1 and not np.isin(known, (0, 1)).all()
    if probabilities:
        return "percent" if known.max() > 1 else "probabilities"
    return "probabilities" if len(known) >= FEWEST_ROWS and between and known.min() < 0.5 < known.max() else "logits"


def common_sum(table: Array) -> float | None:
    """What all rows of numbers from 0 on sum to, as counted votes do; None where they do not sum to one number."""
    sums = table.sum(axis=1)
    if len(table) < FEWEST_ROWS or table.shape[1] < 2 or table.min() < 0 or np.ptp(sums) > SUM_TOLERANCE * sums.mean():
        return None
    return float(sums.mean()) if sums.mean() > 0 and np.ptp(table) > 0 else None


def base_of_logarithms(table: Array) -> int | None:
    """2 or 10 where the numbers are logarithms of probabilities to this base; None for natural ones and anything else."""
    if len(table) < FEWEST_ROWS or table.shape[1] < 2 or table.max() > 0:
        return None
    close = [b for b in (2, 10) if np.allclose(np.power(float(b), table).sum(axis=1), 1, atol=SUM_TOLERANCE)]
    return close[0] if len(close) == 1 else None


def looks_percent(table: Array) -> bool:
    """Whether scores look like percent of which the rows do not sum to 100: one-vs-rest probabilities times 100."""
    return len(table) >= FEWEST_ROWS and table.min() >= 0 and 50 < table.max() <= 100


def as_logits(table: Array, form: Form, key: str = "") -> Array:
    """Logits ``(n, C)`` of scores of this form; raises DataError for numbers that can't be of it."""
    if form == "logits":
        return table
    if (table < 0).any():
        raise DataError(f"'{key}' holds negative values, so these are not probabilities.")
    p = table / 100 if form == "percent" else table
    if form == "one-vs-rest":
        return np.log(np.maximum(p, PROBABILITY_FLOOR)) - np.log(np.maximum(1 - p, PROBABILITY_FLOOR))
    return np.log(np.maximum(p, PROBABILITY_FLOOR))


def bounded(logits: Array) -> tuple[Array, int]:
    """Logits whose -infinity, the logarithm of 0, is that of ``PROBABILITY_FLOOR``; and in how many rows that was so.

    A number below -``LARGEST`` stands for -infinity, as in masked scores. Rows without any other logit stay as they are.
    """
    zero = logits < -LARGEST
    if not zero.any():
        return logits, 0
    broken = np.isnan(logits) | np.isposinf(logits)
    some = zero.any(axis=1) & ~zero.all(axis=1) & ~broken.any(axis=1)
    if not some.any():
        return logits, 0
    rows = logits[some]
    high = rows.max(axis=1, keepdims=True)
    total = high + np.log(np.exp(rows - high).sum(axis=1, keepdims=True))
    found = logits.copy()
    found[some] = np.where(rows < -LARGEST, total + np.log(PROBABILITY_FLOOR), rows)
    return found, int(some.sum())
