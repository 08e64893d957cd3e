"""The figures of a diagnosis as they are measured: intervals now, replicates kept for paired comparisons later."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mmbal.maths.bootstrap import MIN_SAMPLES, SHARE, Array, Bootstrap, Estimate, Mean


@dataclass
class Figures:
    """Turns replicates into estimates and remembers them by their path in the diagnosis (``contribution.video``)."""

    boot: Bootstrap
    labels: Array
    classes: tuple[str, ...]
    replicates: dict[str, Array] = field(default_factory=dict)
    means: dict[str, Mean] = field(default_factory=dict)

    def add(self, path: str, replicates: Array, support: int | None = None) -> Estimate | None:
        """The estimate of a statistic ``(1 + B,)``; None where the sample does not define it.

        ``support``: the number of samples that it rests on; of too few no interval is given.
        """
        estimate = self.boot.estimate(replicates)
        if estimate is None:
            return None
        self.replicates[path] = replicates
        return Estimate(value=estimate.value) if support is not None and support < MIN_SAMPLES else estimate

    def mean(
        self,
        path: str,
        values: Array,
        rows: Array | None = None,
        bounds: tuple[float, float] | None = None,
        confidence: float | None = None,
    ) -> Estimate | None:
        """The mean of ``values (N,)``, over ``rows`` where given; None where there are none.

        ``bounds``: the least and the greatest value that a sample can have; see :func:`mmbal.maths.bootstrap.bounded`.
        The interval of a share comes from the replicates, since it is lopsided near 0 and 1. Any other mean (a difference,
        nats) has its t interval, at ``confidence`` where given. No seed changes that one, so the verdict's tests rest on it;
        ``means`` keeps its p.
        """
        values = np.asarray(values, dtype=np.float64)
        values = values if rows is None else values[rows]
        means = self.boot.means(values, rows, bounds)
        found = self.add(path, means, None if rows is None else len(rows))
        if found is None or found.low is None:
            return found
        self.means[path] = self.boot.mean_of(values, rows, bounds)
        return found if bounds == SHARE else self.boot.gain(values, rows, bounds, confidence)

    def by_class(
        self, path: str, values: Array, rows: Array | None = None, bounds: tuple[float, float] | None = None
    ) -> dict[str, Estimate]:
        """The mean of ``values (N,)`` within each class that has samples; ``path`` holds ``{}`` for the class."""
        keep = np.arange(len(self.labels)) if rows is None else np.flatnonzero(rows)
        found = {}
        for k, name in enumerate(self.classes):
            estimate = self.mean(path.format(name), values, keep[self.labels[keep] == k], bounds)
            if estimate is not None:
                found[name] = estimate
        return found


def present(estimates: dict[str, Estimate | None]) -> dict[str, Estimate]:
    """Only the figures that exist."""
    return {name: value for name, value in estimates.items() if value is not None}
