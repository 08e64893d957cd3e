"""Newton's method for smooth convex functions of few variables, with lower bounds (projected Newton)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
    from any start. Stops after a step whose Newton decrement promised a gain below ``tolerance``.
    Source: Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SICON 1982.
    """
    x = np.maximum(np.asarray(start, dtype=np.float64), lower)
    value, gradient, hessian = objective(x)
    for _ in range(max_steps):
        free = (x > lower) | (gradient < 0)
        step = np.zeros_like(x)
        block = hessian[np.ix_(free, free)]
        jitter = 1e-12 * max(np.trace(block), 1e-300) / max(len(block), 1)
        step[free] = -np.linalg.solve(block + jitter * np.eye(len(block)), gradient[free])
        decrement = -gradient @ step
        length = 1.0
        while length > 1e-10:
            trial = np.maximum(x + length * step, lower)
            attempt = objective(trial)
            if attempt[0] <= value + 1e-4 * gradient @ (trial - x):
                break
            length /= 2
        else:
            break
        x, (value, gradient, hessian) = trial, attempt
        if decrement < 2 * tolerance:
            break
    return x
