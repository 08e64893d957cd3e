"""The uncertainty of figures: bootstrap intervals and standard errors.

Everything rests on one table of counts, how often each replicate draws each sample. A statistic that is a function of
sums over samples is then a matrix product for all replicates at once, and two statistics of the same table are paired.

A bootstrap interval changes a little with the seed of its replicates. The verdict must not change, so its tests rest on
standard errors that no seed changes: that of a mean (:class:`Mean`), and the jackknife's for any other statistic
(:class:`Jackknife`). Both take whole groups as the independent units, as the bootstrap does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from mmbal.config import Frozen
from mmbal.errors import UsageError
from mmbal.maths.distributions import normal_quantile, t_quantile, t_tail
from mmbal.maths.resampling import MIN_GROUPS, as_weights, bootstrap_counts, drawn_sums, units_of

SHARE = (0.0, 1.0)  # bounds of a share of samples, such as an accuracy
GAIN = (-1.0, 1.0)  # and of the difference of two
MIN_SAMPLES = 10  # fewer samples get no interval: drawing a handful again shows too little
ROUNDING = 1e-12  # a difference of accuracies, or of nats, below this is a rounding error
MOST_LEFT_OUT = 500  # replicates of a jackknife; more units than that are left out several at a time
BOUNDS_SEED = 0

Array = np.ndarray


def bounded(replicates: Array, n: int, bounds: tuple[float, float]) -> Array:
    """Replicates ``(1 + B,)`` of the mean of n values with two more values drawn into each, one at each of the ``bounds``.

    This keeps the interval from collapsing where all samples agree: a class that is always right, a rule that changes no
    decision. Sources: Agresti and Coull 1998 for shares; Bonett and Price 2012 for paired differences. The draws are the
    same for every figure, whatever its name. The first, the sample's own mean, stays as it is.
    """
    drawn = _drawn_bounds(len(replicates) - 1)
    ends = np.array(bounds) - replicates[0]
    return np.concatenate([replicates[:1], np.clip(replicates[1:] + ends @ drawn / (n + 2), *bounds)])


@lru_cache(maxsize=2)
def _drawn_bounds(replicates: int) -> Array:
    """How often each replicate draws each of two more values: ``(2, B)``."""
    drawn: Array = np.random.default_rng(BOUNDS_SEED).poisson(1.0, (2, replicates)).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


class Estimate(Frozen):
    """A figure with its interval; ``low`` and ``high`` are None where there is no interval, as of too few samples."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on that side of zero, else 0: nothing is shown."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Mean:
    """A mean of samples with its standard error and degrees of freedom (independent units less one)."""

    value: float
    error: float
    freedom: int

    @classmethod
    def of(cls, values: Array, member: Array) -> Mean:
        """The mean of ``values (n,)``, where ``member (n,)`` says which independent unit each sample belongs to.

        The cluster-robust standard error: residuals are summed within a unit first, since samples of one unit are not
        independent. With one unit the error is infinite.
        """
        mean, n = float(values.mean()), len(values)
        if int(member.max()) > 8 * n:  # few of many units: they are counted anew
            member = np.unique(member, return_inverse=True)[1]
        sums, g = np.bincount(member, values - mean), int(np.count_nonzero(np.bincount(member)))
        error = float(np.sqrt(g / (g - 1) * (sums**2).sum()) / n) if g > 1 else np.inf
        return cls(mean, error, g - 1)

    @property
    def p(self) -> float:
        """Two-sided p of "the mean is zero": a t test, or the sign test where all units agree."""
        if abs(self.value) < ROUNDING:
            return 1.0
        if self.error < ROUNDING:
            return 2.0**-self.freedom
        return 2 * t_tail(self.freedom, abs(self.value) / self.error) if self.freedom else 1.0

    def interval(self, confidence: float) -> tuple[float, float]:
        """The ends of the t interval."""
        half = t_quantile(self.freedom, (1 + confidence) / 2) * self.error if self.freedom else np.inf
        return self.value - half, self.value + half


@dataclass(frozen=True)
class Bootstrap:
    """The table of counts and what is done with it; build with :meth:`of`.

    ``counts (N, 1 + B)`` are those of :func:`mmbal.maths.resampling.bootstrap_counts`. ``member (N,)`` says which
    independent unit each sample belongs to: a sample is its own, or it belongs to a group.
    """

    counts: Array
    confidence: float
    unit: str
    member: Array

    @classmethod
    def of(
        cls, n: int, group: Array | None = None, replicates: int = 1000, seed: int = 0, confidence: float = 0.95
    ) -> Bootstrap:
        """Draw the table for ``n`` samples; ``unit`` then says whether samples or groups were drawn.

        Groups are drawn where there are at least ``MIN_GROUPS`` of them. Raises UsageError where there is no sample,
        no replicate, or a confidence outside (0, 1).
        """
        if n < 1 or replicates < 1 or not 0 < confidence < 1:
            raise UsageError(
                "A bootstrap needs samples, replicates and a confidence in (0, 1); "
                f"got {n}, {replicates} and {confidence}."
            )
        member = units_of(n, group)
        grouped = group is not None and len(np.unique(group)) >= MIN_GROUPS
        counts = bootstrap_counts(n, replicates, seed, group if grouped else None)
        return cls(counts, confidence, "group" if grouped else "sample", member)

    def jackknife(self) -> Jackknife:
        """The table that leaves out one independent unit at a time, or ``MOST_LEFT_OUT`` sets of units in turn."""
        return Jackknife(self.counts[:, :1], self.confidence, self.unit, self.member)

    def error(self, replicates: Array) -> Array:
        """Standard error of a statistic from its replicates ``(1 + B, ...)``."""
        value: Array = replicates[1:].std(axis=0, ddof=1)
        return value

    def mean_of(self, values: Array, rows: Array | None = None, bounds: tuple[float, float] | None = None) -> Mean:
        """The mean of ``values (n,)`` of ``rows`` (all where not given) with its standard error.

        With ``bounds``, the least and the greatest value that a sample can have, a unit of each is added. This
        keeps the interval from collapsing when all samples agree (Agresti and Coull 1998; Bonett and Price 2012).
        """
        member = self.member if rows is None else self.member[rows]
        values = np.asarray(values, dtype=np.float64)
        plain = Mean.of(values, member)
        if bounds is None:
            return plain
        new = len(self.member) + np.arange(2)
        wider = Mean.of(np.append(values, bounds), np.append(member, new))
        return Mean(wider.value, wider.error, plain.freedom)

    def gain(
        self,
        values: Array,
        rows: Array | None = None,
        bounds: tuple[float, float] | None = None,
        confidence: float | None = None,
    ) -> Estimate:
        """The mean of paired differences ``(n,)`` with its t interval, which no seed changes; ``n`` is at least 1.

        ``rows`` and ``bounds`` are those of :meth:`mean_of`; ``confidence`` is the table's where it is not given. There
        is no interval of fewer than ``MIN_SAMPLES`` differences, or of one group.
        """
        value, mean = float(np.mean(values)), self.mean_of(values, rows, bounds)
        if len(values) < MIN_SAMPLES or not mean.freedom:
            return Estimate(value=value)
        low, high = mean.interval(self.confidence if confidence is None else confidence)
        if bounds is not None:
            low, high = max(low, bounds[0]), min(high, bounds[1])
        return Estimate(value=value, low=low, high=high)

    def sums(self, values: Array, rows: Array | None = None) -> Array:
        """Sums of ``values (N, ...)`` in each replicate: ``(1 + B, ...)``, first the sample's own.

        ``rows`` (indices or mask) restricts the sum to some samples; ``values`` then holds those rows only.
        """
        values = np.asarray(values, dtype=np.float64)
        flat = values.reshape(len(values), int(np.prod(values.shape[1:])))  # -1 fails where there are no rows
        out = drawn_sums(self._weights, flat, rows)
        out[0] = flat.sum(axis=0)  # the sample's own, exactly
        return out.reshape(1 + self.replicates, *values.shape[1:])

    @property
    def replicates(self) -> int:
        """How many there are, the sample itself not counted."""
        return self.counts.shape[1] - 1

    @cached_property
    def _weights(self) -> Array:
        return as_weights(self.counts)

    def class_sums(self, values: Array, labels: Array, classes: int) -> Array:
        """Sums of ``values (N, ...)`` within each class: ``(1 + B, C, ...)``."""
        shape = np.asarray(values).shape[1:]
        out = np.zeros((1 + self.replicates, classes, *shape))
        for c in range(classes):
            rows = np.flatnonzero(labels == c)
            if len(rows):
                out[:, c] = self.sums(np.asarray(values)[rows], rows)
        return out

    def means(self, values: Array, rows: Array | None = None, bounds: tuple[float, float] | None = None) -> Array:
        """Means of ``values (N, ...)`` in each replicate: ``(1 + B, ...)``; NaN where a replicate drew none of them.

        ``bounds``: the least and the greatest value ``(N,)`` that a sample can have; see :func:`bounded`.
        """
        values = np.asarray(values, dtype=np.float64)
        flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
        sums = self.sums(
            np.concatenate([flat, np.ones((len(flat), 1))], axis=1), rows
        )  # one pass over the table for both
        found = ratio(sums[:, :-1], sums[:, -1]).reshape(-1, *values.shape[1:])
        return found if bounds is None else bounded(found, len(values), bounds)

    def class_means(self, values: Array, labels: Array, classes: int) -> Array:
        """Means of ``values (N, ...)`` within each class: ``(1 + B, C, ...)``; NaN where a class was not drawn."""
        values = np.asarray(values, dtype=np.float64)
        return ratio(self.class_sums(values, labels, classes), self.class_sums(np.ones(len(values)), labels, classes))

    def estimate(self, replicates: Array) -> Estimate | None:
        """Percentile interval of a statistic ``(1 + B,)``, the sample's own first; None where that is NaN.

        There is no interval where the sample is smaller than ``MIN_SAMPLES``.
        """
        value, drawn = float(replicates[0]), replicates[1:][np.isfinite(replicates[1:])]
        if not np.isfinite(value):
            return None
        if not len(drawn) or len(self.member) < MIN_SAMPLES:
            return Estimate(value=value)
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Estimate(value=value, low=float(low), high=float(high))

    def mean(
        self, values: Array, rows: Array | None = None, bounds: tuple[float, float] | None = None
    ) -> Estimate | None:
        """Mean of ``values (N,)`` with its interval; None where there are no values. Arguments as for :meth:`means`."""
        return self.estimate(self.means(values, rows, bounds))

    def difference(self, first: Array, second: Array) -> Estimate | None:
        """Mean of ``first - second`` over the same samples with its interval (paired bootstrap)."""
        return self.mean(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64))


class Jackknife(Bootstrap):
    """A table that leaves out a part of the samples at a time. It has no chance in it, so no seed.

    Any statistic that takes a bootstrap's table takes this one; :meth:`error` is then the delete-a-group jackknife's.
    """

    def sums(self, values: Array, rows: Array | None = None) -> Array:
        """As of a bootstrap, in double precision: the total less what is left out."""
        values = np.asarray(values, dtype=np.float64)
        flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
        out = self.member % self.replicates
        out = out if rows is None else out[rows]
        found = np.empty((1 + self.replicates, flat.shape[1]))
        found[0] = flat.sum(axis=0)
        for k, column in enumerate(flat.T):
            found[1:, k] = found[0, k] - np.bincount(out, column, minlength=self.replicates)
        return found.reshape(1 + self.replicates, *values.shape[1:])

    @property
    def replicates(self) -> int:
        return min(int(self.member.max()) + 1, MOST_LEFT_OUT)

    def error(self, replicates: Array) -> Array:
        left_out = replicates[1:]
        b = len(left_out)
        value: Array = np.sqrt((b - 1) / b * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
        return value


def mean_interval(values: Array, confidence: float = 0.95) -> Estimate:
    """The mean of independent ``values (n,)`` with its normal interval; none of a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(value=mean)
    half = float(normal_quantile((1 + confidence) / 2) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(value=mean, low=mean - half, high=mean + half)


def ratio(numerator: Array, denominator: Array) -> Array:
    """``numerator (B, ..., extra) / denominator (B, ...)`` with NaN where the denominator is zero."""
    denominator = denominator.reshape(denominator.shape + (1,) * (numerator.ndim - denominator.ndim))
    filled = np.broadcast_to(denominator, numerator.shape)
    return np.divide(numerator, filled, out=np.full(numerator.shape, np.nan), where=filled != 0)
