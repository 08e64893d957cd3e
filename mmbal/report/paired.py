"""A paired test on the same samples: are two models, or two sets of seeds, equally accurate?

With several seeds the mean over seeds is compared. The variance of the difference d then has two parts,

    var(d) = var_samples (of the mean over seeds; over groups where there are some)  +  var_seeds / k,

the second from the k differences where both sides have the same seeds, else from both sides' own spread; the degrees
of freedom follow Welch and Satterthwaite. With one seed each only the first part is known: the test then compares
these two trained models, not the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import correct, decision_of, log_likelihood
from mmbal.maths.bootstrap import ROUNDING, Bootstrap, Estimate, Mean
from mmbal.maths.distributions import t_quantile, t_tail
from mmbal.maths.significance import mcnemar
from mmbal.predictions.format import Array, Predictions
from mmbal.predictions.order import canonical_order
from mmbal.predictions.pairing import shared_rows

LEVEL = 0.05  # of a corrected p, below which a difference is shown


class PairedTest(Frozen):
    """What the second side gains over the first on the same samples: second minus first."""

    samples: int
    accuracy: Estimate
    nll: Estimate
    p: float = Field(description="of equal accuracy, from the spread of the differences over samples and over seeds")
    p_holm: float | None = Field(None, description="the same after Holm's correction over all rows")
    mcnemar: float | None = Field(None, description="McNemar's mid-p, where both sides are one model")

    @property
    def shown(self) -> bool:
        """Whether the test shows a difference, after Holm's correction."""
        return self.p_holm is not None and self.p_holm < LEVEL


@dataclass(frozen=True)
class Difference:
    """A mean difference, the variances that independent causes give it, and the degrees of freedom of each."""

    value: float
    variances: tuple[float, ...]
    freedom: tuple[float, ...]

    @classmethod
    def of_parts(cls, value: float, over_samples: float, freedom: float, spread: Sequence[Array]) -> Difference:
        """From the variance over samples, and for each array of ``spread`` the seeds' means, of which it is the mean."""
        parts = [float(means.var(ddof=1)) / len(means) for means in spread]
        return cls(value, (over_samples, *parts), (freedom, *(len(means) - 1 for means in spread)))

    @classmethod
    def of_scores(cls, first: Array, second: Array, member: Array, same_seeds: bool) -> Difference:
        """``second`` minus ``first``, each ``(S, N)``: the scores of S seeds on the same N samples.

        ``member (N,)`` says which independent unit (a speaker, say) each sample belongs to. With ``same_seeds`` the
        seeds are paired in their order.
        """
        samples = Mean.of(second.mean(axis=0) - first.mean(axis=0), member)
        spread = [(second - first).mean(axis=1)] if same_seeds else [x.mean(axis=1) for x in (first, second)]
        known = [means for means in spread if len(means) > 1]
        return cls.of_parts(samples.value, samples.error**2, samples.freedom, known)

    @classmethod
    def pooled(cls, each: Sequence[Difference]) -> Difference:
        """The mean of the differences on several data sets, which are independent of one another."""
        k = len(each)
        variances = tuple(v / k**2 for d in each for v in d.variances)
        return cls(sum(d.value for d in each) / k, variances, tuple(f for d in each for f in d.freedom))

    @property
    def error(self) -> float:
        """Standard error."""
        return sum(self.variances) ** 0.5

    @property
    def degrees(self) -> float:
        """Degrees of freedom after Welch and Satterthwaite."""
        return float(self.error**4 / sum(v**2 / f for v, f in zip(self.variances, self.freedom, strict=True)))

    def estimate(self, confidence: float) -> Estimate:
        """The difference with its t interval; without one where there is a single sample or group."""
        if np.isinf(self.error):
            return Estimate(value=self.value)
        half = t_quantile(self.degrees, (1 + confidence) / 2) * self.error if self.error else 0.0
        return Estimate(value=self.value, low=self.value - half, high=self.value + half)

    @property
    def p(self) -> float:
        """Two-sided p of "there is no difference": a t test, or the sign test where all samples and seeds agree."""
        if abs(self.value) < ROUNDING or np.isinf(self.error):
            return 1.0
        if self.error < ROUNDING:
            return 2.0 ** -self.freedom[0]
        return 2 * t_tail(self.degrees, abs(self.value) / self.error)


def paired_test(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedTest:
    """``second`` minus ``first`` on the samples that all of them share by id; each item is one seed's predictions.

    Raises DataError where they can't be paired: ids repeat, no id is shared, or labels differ.
    """
    aligned = align([*first, *second])
    order = canonical_order(aligned[0])
    aligned = [p.take(order) for p in aligned]
    sides = aligned[: len(first)], aligned[len(first) :]
    sample = aligned[0]
    bootstrap = Bootstrap.of(len(sample), sample.group, replicates, seed, confidence)
    same_seeds = len(first) > 1 and _seeds(first) == _seeds(second)
    if same_seeds:
        sides = sorted(sides[0], key=_seed), sorted(sides[1], key=_seed)

    def difference(score: Callable[[Array, Array], Array]) -> tuple[Estimate, float]:
        x, y = (np.stack([score(decision_of(p).fused, p.labels) for p in side]) for side in sides)
        found = Difference.of_scores(x, y, bootstrap.member, same_seeds)
        if len(found.variances) > 1:  # the spread over seeds is known
            return found.estimate(confidence), found.p
        estimate = bootstrap.difference(y.mean(axis=0), x.mean(axis=0))
        assert estimate is not None
        return estimate, found.p

    accuracy, p = difference(correct)
    nll, _ = difference(lambda logits, labels: -log_likelihood(logits, labels))
    single = len(aligned) == 2
    right = [correct(decision_of(p).fused, p.labels) == 1 for p in aligned]
    return PairedTest(samples=len(sample), accuracy=accuracy, nll=nll, p=p, mcnemar=mcnemar(*right) if single else None)


def _seed(predictions: Predictions) -> str:
    return str(predictions.meta.get("seed"))


def _seeds(side: Sequence[Predictions]) -> list[str]:
    return sorted(map(_seed, side))


def align(given: Sequence[Predictions]) -> list[Predictions]:
    """The rows whose ids all share, in the order of the first; raises DataError where they can't be matched."""
    return [p.take(rows) for p, rows in zip(given, shared_rows(given), strict=True)]
