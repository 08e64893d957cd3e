"""The candidates that the rule `adaptive` averages, fitted on all rows and on the other folds, and judged on held-out rows.

Every figure of the average rests on one cross-fitting: the weights of the candidates, the gain that is required of them,
the bound of `protect`, and how good the average is on rows that it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mmbal.decision.base import Held, Rule
from mmbal.decision.fused import FUSED, Takes, large, only
from mmbal.decision.linear import LogLinear, Problem, too_large
from mmbal.decision.protect import within_bound
from mmbal.decision.rules.discriminant import Discriminant
from mmbal.decision.rules.pool import Pool
from mmbal.decision.rules.temperature import inverse_temperatures
from mmbal.maths.arrays import log, logsumexp
from mmbal.maths.folds import folds_of
from mmbal.maths.loglinear import FAST
from mmbal.maths.mixture import mixture_weights
from mmbal.maths.resampling import units_of
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Predictions
from mmbal.progress import portion
from mmbal.registry import rules


class Candidate(NamedTuple):
    """A rule with its hyper-parameters, its share a priori and its inputs."""

    rule: str
    options: dict[str, Any]
    share: float
    takes: Takes = "parts"


PARTS = (
    Candidate("sum", {}, 1.0),
    Candidate("best", {}, 0.3),
    Candidate("temperature", {"shared": True}, 1.0),
    Candidate("pool", {}, 1.0),
    Candidate("bias", {}, 1.0),
    Candidate("classwise", {}, 1.0),
    Candidate("matrix", {"strength": 0.3}, 1.0),
    Candidate("matrix", {"strength": 0.6}, 1.0),
    Candidate("matrix", {"strength": 1.2}, 1.0),
    Candidate("matrix", {"strength": 2.4}, 1.0),
    Candidate("discriminant", {"scale": "log"}, 1.0),
    Candidate("discriminant", {"scale": "root"}, 1.0),
)
# Where the model's decision is an input: on it alone, with the parts, and, should it be useless, on the parts alone
ALONE = tuple(c._replace(takes="fused") for c in PARTS if c.rule not in {"best", "pool"})
TOGETHER = tuple(c._replace(takes="parts and fused") for c in PARTS if c.rule not in {"sum", "best", "temperature"})
WITHOUT = tuple(
    c._replace(share=0.2) for c in PARTS if c.rule in {"best", "pool", "bias"} or "root" in c.options.values()
)
AS_IT_IS = 0  # the candidate that all others are measured against
HONEST = 1  # where fused is an input: the same decisions at a temperature
SHARE = 0.01  # of the mixture of the first fold: with many rows, what has less there is not fitted again
LOST = 10.0  # nats that a candidate loses against the one before, after which none that is shrunk less is tried


def candidates_for(modalities: tuple[str, ...], classes: int) -> tuple[Candidate, ...]:
    """The candidates for these inputs; the first is the decision as it is. No matrix that is :func:`too_large`."""
    every = (*ALONE, *TOGETHER, *WITHOUT) if FUSED in modalities else PARTS
    return tuple(c for c in every if not too_large(c.rule, len(modalities), classes))


@dataclass(frozen=True)
class Fits:
    """Fits candidates to the same rows. What several of them need is made once.

    The log-linear ones are solved to 1e-3 nats a row only. On the thirteen columns of docs/decision-layer.md the average
    of these has 73.06 % and 0.7052 nats, that of solutions to 1e-4 nats 73.05 % and 0.7053 nats.
    """

    predictions: Predictions
    problems: dict[tuple[type[Rule], Takes], Problem] = field(default_factory=dict)

    @cached_property
    def beta(self) -> dict[str, float]:
        """The inverse temperature of each input."""
        p = self.predictions
        return dict(zip(p.modalities, inverse_temperatures(p).tolist(), strict=True))

    @cached_property
    def inputs(self) -> dict[Takes, Predictions]:
        """The rows as candidates take them."""
        p = self.predictions
        return {
            "parts": only(p, [m for m in p.modalities if m != FUSED]),
            "fused": only(p, [m for m in p.modalities if m == FUSED]),
            "parts and fused": p,
        }

    def of(self, candidate: Candidate, start: Rule | None = None) -> Rule:
        """The candidate, fitted; ``start``, a fit of its kind on like data, saves time."""
        cls, given = rules.get(candidate.rule), self.inputs[candidate.takes]
        known: dict[str, Any] = {}
        if issubclass(cls, LogLinear):
            known = {"problem": self.problem(cls, candidate.takes), "start": start, "tolerance": FAST}
        else:
            self.problems.clear()
        if issubclass(cls, Pool | Discriminant):
            known = {"beta": self.beta_of(given)}
        return cls.fit(given, cls.Config(**candidate.options), **known)

    def problem(self, cls: type[LogLinear], takes: Takes) -> Problem:
        """What a log-linear rule is fitted to; the last one is kept, for other strengths of the same rule."""
        if (cls, takes) not in self.problems:
            self.problems.clear()
            self.problems[cls, takes] = cls.problem(self.inputs[takes], self.beta_of(self.inputs[takes]))
        return self.problems[cls, takes]

    def beta_of(self, given: Predictions) -> np.ndarray:
        """The inverse temperatures of some inputs."""
        return np.array([self.beta[m] for m in given.modalities])


@dataclass(frozen=True)
class Fold:
    """The candidates' likelihoods of the ``n`` rows of one fold; they were fitted on the other folds."""

    repeat: int
    rows: np.ndarray  # (n,)
    labels: np.ndarray  # (n,)
    unit: np.ndarray  # (n,): the independent unit that each row belongs to, its own or its group
    likelihood: np.ndarray  # (n, K): log-likelihood of the true class
    right: np.ndarray  # (n, K): whether each candidate is right, a share where scores tie
    whole: np.ndarray  # (n,): whether the row has every modality
    hidden: np.ndarray  # (H, K): log-likelihood with one modality after the other hidden, where the decision is known
    candidates: tuple[Candidate, ...]
    members: list[Rule]  # the candidates, fitted

    def of_weight(self) -> Fold:
        """The fold with those candidates alone that have a share in its most likely mixture, and the first ones."""
        shares = [mixture_weights(rows) for rows in (self.likelihood, self.hidden) if len(rows)]
        kept = np.flatnonzero(np.max(shares, axis=0) >= SHARE)
        kept = np.union1d(kept, [AS_IT_IS, HONEST])
        return replace(
            self,
            likelihood=self.likelihood[:, kept],
            right=self.right[:, kept],
            hidden=self.hidden[:, kept],
            candidates=tuple(self.candidates[k] for k in kept),
            members=[self.members[k] for k in kept],
        )


def judged_folds(
    predictions: Predictions, folds: int, seed: int, repeat: int = 0, first: Fold | None = None
) -> Iterator[Fold]:
    """The folds of one repeat, each as soon as its candidates are fitted; none where there is one row only.

    ``first``: the first fold of all, whose candidates the others have, and start from. They are solved again to their own
    optimum.
    """
    if len(predictions) < 2:
        return
    fold = folds_of(predictions.labels, folds, seed + repeat, predictions.group)
    whole, unit = np.all(predictions.present_mask(), axis=1), units_of(len(predictions), predictions.group)
    for part in range(fold.max() + 1):
        rows = np.flatnonzero(fold == part)
        test = predictions.take(rows)
        others = predictions.take(fold != part)
        with portion(0.5 / (fold.max() + 1)):  # most often the folds are drawn twice
            tried = _tried(others, test) if first is None else _tried_again(others, test, first)
        found = Fold(
            repeat,
            rows,
            test.labels,
            unit[rows],
            np.stack([one.likelihood for one in tried], axis=1),
            np.stack([one.right for one in tried], axis=1),
            whole[rows],
            np.stack([one.hidden for one in tried], axis=1),
            tuple(one.candidate for one in tried),
            [one.rule for one in tried],
        )
        if first is None:
            first = found = found.of_weight() if large(predictions) else found
        yield found


class Tried(NamedTuple):
    """A candidate, fitted on some rows, and what it is worth on others, as of a :class:`Fold`."""

    candidate: Candidate
    rule: Rule
    likelihood: np.ndarray  # (n,)
    right: np.ndarray  # (n,)
    hidden: np.ndarray  # (H,)

    @classmethod
    def of(cls, candidate: Candidate, rule: Rule, test: Predictions) -> Tried:
        """The candidate, judged on ``test``."""
        log_p = decided(rule, test)
        hidden = [_of_truth(decided(rule, less), less.labels) for less in without_each(test)]
        return cls(
            candidate,
            rule,
            _of_truth(log_p, test.labels),
            correct(log_p, test.labels),
            np.concatenate([np.zeros(0), *hidden]),
        )


def _tried(fitted_on: Predictions, test: Predictions) -> list[Tried]:
    """The candidates in their order, each from the fit before it.

    With many rows a matrix is left out where the one before it, which is shrunk more, or one before that has
    lost likelihood by being shrunk less.
    """
    fits, found = Fits(fitted_on), list[Tried]()
    before, lost = None, False
    for candidate in candidates_for(test.modalities, len(test.classes)):
        lost = _climbs(before, candidate) and (lost or found[-1].likelihood.sum() < found[-2].likelihood.sum() - LOST)
        before = candidate
        if lost and large(fitted_on):
            continue
        alike = [
            one.rule for one in found if one.candidate.takes == candidate.takes and isinstance(one.rule, LogLinear)
        ]
        found.append(Tried.of(candidate, fits.of(candidate, alike[-1] if alike else None), test))
    return found


def _tried_again(fitted_on: Predictions, test: Predictions, first: Fold) -> list[Tried]:
    """The candidates of the ``first`` fold, each from its fit there."""
    fits = Fits(fitted_on)
    known = zip(first.candidates, first.members, strict=True)
    return [Tried.of(candidate, fits.of(candidate, start), test) for candidate, start in known]


def _climbs(before: Candidate | None, candidate: Candidate) -> bool:
    """Whether a candidate is the one before it, less shrunk."""
    if before is None:
        return False
    return "strength" in before.options and before.rule == candidate.rule and before.takes == candidate.takes


def decided(rule: Rule, test: Predictions) -> np.ndarray:
    """Log-probabilities ``(n, C)`` of a rule, in the precision of the logits."""
    here = dict(zip(test.modalities, test.present_mask().T, strict=True))
    inputs = [np.where(here[m][:, None], test.logits[m], test.logits[m].dtype.type(0)) for m in rule.modalities]
    value: np.ndarray = rule.decide(
        inputs, np.stack([here[m] for m in rule.modalities], axis=1).astype(inputs[0].dtype)
    )
    return value


def _of_truth(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    value: np.ndarray = log_p[np.arange(len(labels)), labels].astype(np.float64)
    return value


def until_enough(folds: Iterable[Fold], enough: int, classes: int) -> list[Fold]:
    """The first folds, until ``enough`` probabilities (rows x ``classes``) are judged."""
    kept: list[Fold] = []
    held = 0
    for fold in folds:
        kept.append(fold)
        held += len(fold.rows) * classes
        if held >= enough:
            break
    return kept


def as_rules(folds: list[Fold], predictions: Predictions) -> dict[str, list[Held]]:
    """By name the candidates that are what cross-fitting the rule by itself gives: where all are in single precision."""
    if not folds or not large(predictions):
        return {}
    found = {}
    for k, candidate in enumerate(folds[0].candidates):
        cls = rules.get(candidate.rule)
        alike = FUSED not in predictions.modalities or candidate.takes == cls.takes
        if alike and cls.Config(**candidate.options) == cls.Config():
            found[candidate.rule] = [(fold.members[k], fold.rows) for fold in folds]
    return found


def without_each(predictions: Predictions) -> list[Predictions]:
    """The same rows with each modality removed in turn; with ``fused`` as an input, only where it is known then."""
    names = tuple(m for m in predictions.modalities if m != FUSED)
    found = []
    for m in names if len(names) > 1 else ():
        present = {**predictions.present, m: np.zeros(len(predictions), dtype=bool)}
        logits = dict(predictions.logits)
        if FUSED in logits:
            others = tuple(other for other in names if other != m)
            if others not in predictions.subsets:
                continue
            logits[FUSED] = predictions.subsets[others]
        found.append(replace(predictions, present=present, logits=logits))
    return found


def held_out_gain(folds: list[Fold], prior: np.ndarray, n: int, start: np.ndarray) -> float:
    """Nats that the average gains on ``n`` rows over the mixture ``start (K,)``; each fold is weighed by the others."""
    gains = []
    for fold in folds:
        others = [other.likelihood for other in folds if other.repeat == fold.repeat and other is not fold]
        weights = mixture_weights(gathered(others, len(prior)), prior)
        gains.append(
            logsumexp(fold.likelihood + log(weights), axis=1) - logsumexp(fold.likelihood + log(start), axis=1)
        )
    return n * float(np.concatenate(gains).mean()) if gains else 0.0


def protected(
    predictions: Predictions, folds: list[Fold], weights: np.ndarray, bound: float
) -> tuple[float, np.ndarray]:
    """The share of the average with these ``weights (2, K)``, and the additions per class, that keep the ``bound``."""
    unit = np.concatenate([fold.unit for fold in folds])
    average, start = [], []
    for fold in folds:
        test = predictions.take(fold.rows)
        log_p = np.stack([decided(rule, test) for rule in fold.members], axis=1)
        average.append(logsumexp(log_p + log(weights[(~fold.whole).astype(int)])[..., None], axis=1))
        start.append(log_p[:, AS_IT_IS])
    labels = np.concatenate([fold.labels for fold in folds])
    return within_bound(np.concatenate(average), np.concatenate(start), labels, bound, unit)


def gathered(parts: list[np.ndarray], candidates: int) -> np.ndarray:
    """Log-likelihoods ``(R, K)`` of all parts; an empty array where there are none."""
    return np.concatenate([np.zeros((0, candidates)), *parts])
