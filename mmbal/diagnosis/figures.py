"""The figures of a diagnosis as they are measured: intervals now, replicates kept for paired comparisons later."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mmbal.diagnosis.significance import Array, Bootstrap, Estimate


@dataclass
class Figures:
    """Turns replicates into estimates and remembers them by their path in the diagnosis (``contribution.video``)."""

    boot: Bootstrap
    labels: Array
    classes: tuple[str, ...]
    replicates: dict[str, Array] = field(default_factory=dict)

    def add(self, path: str, replicates: Array) -> Estimate | None:
        """The estimate of a statistic ``(1 + B,)``; None where the sample does not define it."""
        estimate = self.boot.estimate(replicates)
        if estimate is not None:
            self.replicates[path] = replicates
        return estimate

    def mean(self, path: str, values: Array, rows: Array | None = None) -> Estimate | None:
        """The mean of ``values (N,)``, over ``rows`` where given; None where there are none."""
        values = np.asarray(values, dtype=np.float64)
        return self.add(path, self.boot.means(values if rows is None else values[rows], rows))

    def by_class(self, path: str, values: Array, rows: Array | None = None) -> dict[str, Estimate]:
        """The mean of ``values (N,)`` within each class that has samples; ``path`` holds ``{}`` for the class."""
        keep = np.arange(len(self.labels)) if rows is None else np.flatnonzero(rows)
        found = {}
        for k, name in enumerate(self.classes):
            estimate = self.mean(path.format(name), values, keep[self.labels[keep] == k])
            if estimate is not None:
                found[name] = estimate
        return found
