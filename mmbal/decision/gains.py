"""What a rule gains over the decision as it is, sample by sample: its interval, and its test class by class."""

from __future__ import annotations

import numpy as np

from mmbal.maths.bootstrap import GAIN, Bootstrap, Estimate
from mmbal.maths.significance import holm, sign_test

AT_ONCE = 1024  # rows that are compared at a time
ONE_SIDED = 0.95  # confidence with which a gain is at `least` what it is said to be


class Gain(Estimate):
    """A paired gain with its interval, and what it is at ``least`` with 95 % confidence (one-sided)."""

    least: float | None = None

    @classmethod
    def of(
        cls,
        boot: Bootstrap,
        values: np.ndarray,
        rows: np.ndarray | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> Gain:
        """The mean of paired differences ``(n,)``, of ``rows`` where given; nothing but the value where they are few."""
        # the lower end of the two-sided 90 % interval is the one-sided 95 % bound
        return cls(
            **dict(boot.gain(values, rows, bounds)), least=boot.gain(values, rows, bounds, 2 * ONE_SIDED - 1).low
        )


def class_tests(gain: np.ndarray, labels: np.ndarray, group: np.ndarray | None) -> dict[int, float]:
    """p of "nothing changes in the class's accuracy" for each class that has rows, corrected by Holm.

    ``gain (N,)``: how far each row is right under a rule, less how far under the decision as it is. The paired sign test;
    rows of a ``group (N,)`` count once.
    """
    known = np.unique(labels).tolist()
    rows = [np.flatnonzero(labels == k) for k in known]
    p = [sign_test(gain[own], None if group is None else group[own]) for own in rows]
    return dict(zip(known, holm(p).tolist(), strict=True))


def gain_bounds(log_p: np.ndarray, start: np.ndarray) -> tuple[float, float] | None:
    """The bounds of a row's gain in accuracy of ``log_p (N, C)`` over ``start``; None where no decision can change."""
    return None if same_order(log_p, start) else GAIN


def same_order(log_p: np.ndarray, other: np.ndarray) -> bool:
    """Whether both rank all classes alike in every row: then no decision is changed, here or elsewhere."""
    for start in range(0, len(log_p), AT_ONCE):  # other decisions are seen in the first rows
        first, second = (np.argsort(x[start : start + AT_ONCE], axis=1, kind="stable") for x in (log_p, other))
        if not (first == second).all():
            return False
    return True
