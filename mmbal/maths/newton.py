"""Convex problems of few variables with lower bounds: projected Newton, and the projection onto ``x >= 0``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DAMPING = (1e-12, 1e-6, 1e-3, 1.0)  # tried in turn; in units of the Hessian's mean diagonal
ROUNDING = 1e-10  # entries this little below zero, in standard deviations, are zero

EXACTNESS = 1e-13  # the value itself is known no better, in units of it: a last step need not be seen to lower it

Objective = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]


def newton(
    objective: Objective,
    start: np.ndarray,
    lower: np.ndarray | float = -np.inf,
    tolerance: float = 1e-7,
    max_steps: int = 100,
) -> np.ndarray:
    """The minimiser ``(D,)`` of a convex function with ``x >= lower``.

    ``objective(x)`` gives the value, the gradient ``(D,)`` and the Hessian ``(D, D)``. Every step is a Newton step in
    the variables that the bounds leave free, shortened until the value falls (Armijo), so that the method converges
    from any start; where no length helps, the Hessian is near singular and the step is damped (Levenberg). Stops after a
    step whose Newton decrement promised a gain below ``tolerance``.
    Source: Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SICON 1982.
    """
    x = np.maximum(np.asarray(start, dtype=np.float64), lower)
    value, gradient, hessian = objective(x)
    for _ in range(max_steps):
        free = (x > lower) | (gradient < 0)
        block = hessian[np.ix_(free, free)]
        unit = max(np.trace(block), 1e-300) / max(len(block), 1) * np.eye(len(block))
        for damping in DAMPING:
            step = np.zeros_like(x)
            step[free] = -np.linalg.solve(block + damping * unit, gradient[free])
            decrement = -gradient @ step
            found = _shortened(objective, x, value, gradient, step, lower)
            if found is not None or decrement < 2 * tolerance:
                break
        if found is None:
            break
        x, (value, gradient, hessian) = found
        if decrement < 2 * tolerance:
            break
    return x


def _shortened(
    objective: Objective, x: np.ndarray, value: float, gradient: np.ndarray, step: np.ndarray, lower: np.ndarray | float
) -> tuple[np.ndarray, tuple[float, np.ndarray, np.ndarray]] | None:
    """The longest of the step, its half, its quarter ... that lowers the value; None where none does."""
    length = 1.0
    while length > 1e-10:
        trial = np.maximum(x + length * step, lower)
        attempt = objective(trial)
        if attempt[0] <= value + 1e-4 * gradient @ (trial - x) + EXACTNESS * abs(value):
            return trial, attempt
        length /= 2
    return None


def nearest_non_negative(
    point: np.ndarray, covariance: np.ndarray, bounded: int, active: np.ndarray | None = None
) -> np.ndarray:
    """The ``x (P,)`` nearest to ``point`` in the metric of ``covariance^-1`` whose first ``bounded`` entries are >= 0.

    ``active (bounded,)``: a guess of the entries that are 0, which saves time.

    It is the minimum under the bounds of a quadratic function with its free minimum at ``point`` and the Hessian
    ``covariance^-1``. Where the entries of a set A are at their bound, x is the Gaussian mean given that they are 0:
    ``x = point + covariance[:, A] lam`` with ``covariance[A, A] lam = -point[A]``; it is the solution where no other entry
    is negative and no multiplier ``lam`` is. A is found by exchanging all entries that are at odds with this at once, or
    only the last where that does not help. Source: Judice and Pires, "A block principal pivoting algorithm for
    large-scale strictly monotone linear complementarity problems", Computers and Operations Research 1994.
    """
    spread = np.sqrt(np.diag(covariance)[:bounded])
    active = np.zeros(bounded, dtype=bool) if active is None else active.copy()
    fewest, tries = bounded + 1, 3
    while True:
        at = np.flatnonzero(active)
        multipliers = np.linalg.solve(covariance[np.ix_(at, at)], -point[at])
        x = point + multipliers @ covariance[at]
        x[at] = 0.0
        wrong = x[:bounded] < -ROUNDING * spread
        wrong[at] = multipliers < -ROUNDING / spread[at]
        count = int(wrong.sum())
        if not count:
            x[:bounded] = np.maximum(x[:bounded], 0.0)
            return x
        if count < fewest:
            fewest, tries = count, 3
        elif tries > 0:
            tries -= 1
        else:
            wrong[: np.flatnonzero(wrong)[-1]] = False
        active ^= wrong
