"""The figures of a diagnosis as they are measured: intervals now, replicates kept for paired comparisons later."""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from mmbal.diagnosis.significance import MIN_SAMPLES, Array, Bootstrap, Estimate

SHARE = (0.0, 1.0)  # bounds of a share of samples, such as an accuracy
GAIN = (-1.0, 1.0)  # and of the difference of two


@dataclass
class Figures:
    """Turns replicates into estimates and remembers them by their path in the diagnosis (``contribution.video``)."""

    boot: Bootstrap
    labels: Array
    classes: tuple[str, ...]
    replicates: dict[str, Array] = field(default_factory=dict)

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
        self, path: str, values: Array, rows: Array | None = None, bounds: tuple[float, float] | None = None
    ) -> Estimate | None:
        """The mean of ``values (N,)``, over ``rows`` where given; None where there are none.

        ``bounds``: the least and the greatest value that a sample can have. Two more samples, one at each bound, are then
        drawn with the others, so that a class that is always right, or a rule that changes no decision of these samples,
        is not taken for certain (Agresti and Coull 1998; for paired differences Bonett and Price 2012).
        """
        values = np.asarray(values, dtype=np.float64)
        values = values if rows is None else values[rows]
        means = self.boot.means(values, rows)
        if bounds is not None:
            drawn = np.random.default_rng(crc32(path.encode())).poisson(1.0, (2, len(means) - 1))
            for end, times in zip(bounds, drawn, strict=True):
                means[1:] += times * (end - means[0]) / (len(values) + 2)
        return self.add(path, means, None if rows is None else len(rows))

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
