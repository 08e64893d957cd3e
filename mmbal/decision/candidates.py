"""The candidates that the rule `adaptive` averages, fitted on all rows and on the other folds, and judged on held-out rows.

Every figure of the average rests on one cross-fitting: the weights of the candidates, the gain that is required of them,
the bound of `protect`, and how good the average is on rows that it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mmbal.decision.base import Rule
from mmbal.decision.fused import FUSED, Takes, only
from mmbal.decision.linear import LogLinear, too_large
from mmbal.decision.protect import within_bound
from mmbal.decision.rules.discriminant import Discriminant
from mmbal.decision.rules.pool import Pool
from mmbal.decision.rules.temperature import inverse_temperatures
from mmbal.maths.arrays import log, logsumexp
from mmbal.maths.bootstrap import units_of
from mmbal.maths.folds import folds_of
from mmbal.maths.loglinear import FAST
from mmbal.maths.mixture import mixture_weights
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


def candidates_for(modalities: tuple[str, ...], classes: int) -> tuple[Candidate, ...]:
    """The candidates for these inputs; the first is the decision as it is. No matrix that is :func:`too_large`."""
    every = (*ALONE, *TOGETHER, *WITHOUT) if FUSED in modalities else PARTS
    return tuple(c for c in every if not too_large(c.rule, len(modalities), classes))


def fit_candidates(predictions: Predictions, start: list[Rule] | None = None) -> list[Rule]:
    """Every candidate fitted on all rows; one starts from ``start``, or from the one before if that is of its kind.

    The log-linear ones are solved to 1e-3 nats a row only. On the thirteen columns of docs/decision-layer.md the average
    of these has 73.08 % and 0.7049 nats, that of exact solutions 73.06 % and 0.7049 nats in more than twice the time.
    """
    beta = dict(zip(predictions.modalities, inverse_temperatures(predictions), strict=True))
    inputs: dict[Takes, Predictions] = {
        "parts": only(predictions, [m for m in predictions.modalities if m != FUSED]),
        "fused": only(predictions, [m for m in predictions.modalities if m == FUSED]),
        "parts and fused": predictions,
    }
    fitted: list[Rule] = []
    for k, (name, options, _, takes) in enumerate(candidates_for(predictions.modalities, len(predictions.classes))):
        cls, given = rules.get(name), inputs[takes]
        known: dict[str, Any] = {}
        if issubclass(cls, LogLinear):
            before = fitted[-1] if type(fitted[-1]) is cls and fitted[-1].modalities == given.modalities else None
            known = {"start": before if start is None else start[k], "tolerance": FAST}
        if issubclass(cls, LogLinear | Pool | Discriminant):
            known["beta"] = np.array([beta[m] for m in given.modalities])
        fitted.append(cls.fit(given, cls.Config(**options), **known))
    return fitted


@dataclass(frozen=True)
class Fold:
    """The candidates' probabilities for the ``n`` rows of one fold; they were fitted on the other folds."""

    repeat: int
    rows: np.ndarray  # (n,)
    labels: np.ndarray  # (n,)
    unit: np.ndarray  # (n,): the independent unit that each row belongs to, its own or its group
    log_p: np.ndarray  # (n, K, C): log-probabilities of the rows as they are
    likelihood: np.ndarray  # (n, K): of the true class
    whole: np.ndarray  # (n,): whether the row has every modality
    hidden: np.ndarray  # (H, K): log-likelihood with one modality after the other hidden, where the decision is known
    members: list[Rule]  # the candidates

    def right(self) -> np.ndarray:
        """Whether each candidate is right ``(n, K)``, a share where scores tie."""
        return np.stack([correct(self.log_p[:, k], self.labels) for k in range(self.log_p.shape[1])], axis=1)


def judged_folds(
    predictions: Predictions, members: list[Rule], folds: int, seed: int, repeat: int = 0
) -> Iterator[Fold]:
    """The folds of one repeat, each as soon as its candidates are fitted; none where there is one row only.

    ``members``, fitted on all rows, are what the fits start from. They are solved again to their own optimum.
    """
    if len(predictions) < 2:
        return
    fold = folds_of(predictions.labels, folds, seed + repeat, predictions.group)
    whole, unit = np.all(predictions.present_mask(), axis=1), units_of(len(predictions), predictions.group)
    for part in range(fold.max() + 1):
        rows = np.flatnonzero(fold == part)
        with portion(0.5 / (fold.max() + 1)):  # most often the folds are drawn twice
            fitted = fit_candidates(predictions.take(fold != part), start=members)
        test = predictions.take(rows)
        log_p = _decide(fitted, test)
        hidden = [_of_truth(_decide(fitted, less), less.labels) for less in without_each(test)]
        own = _of_truth(log_p, test.labels)
        yield Fold(
            repeat, rows, test.labels, unit[rows], log_p, own, whole[rows], gathered(hidden, len(members)), fitted
        )


def until_enough(folds: Iterable[Fold], enough: int) -> list[Fold]:
    """The first folds, until ``enough`` probabilities (rows x classes) are judged."""
    kept: list[Fold] = []
    held = 0
    for fold in folds:
        kept.append(fold)
        held += len(fold.rows) * fold.log_p.shape[2]
        if held >= enough:
            break
    return kept


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


def protected(folds: list[Fold], weights: np.ndarray, bound: float) -> tuple[float, np.ndarray]:
    """The share of the average with these ``weights (2, K)``, and the additions per class, that keep the ``bound``."""
    unit = np.concatenate([fold.unit for fold in folds])
    log_p = np.concatenate([fold.log_p for fold in folds])
    kind = np.concatenate([(~fold.whole).astype(int) for fold in folds])
    average = logsumexp(log_p + log(weights[kind])[..., None], axis=1)
    labels = np.concatenate([fold.labels for fold in folds])
    return within_bound(average, log_p[:, AS_IT_IS], labels, bound, unit)


def gathered(parts: list[np.ndarray], candidates: int) -> np.ndarray:
    """Log-likelihoods ``(R, K)`` of all parts; an empty array where there are none."""
    return np.concatenate([np.zeros((0, candidates)), *parts])


def _decide(fitted: list[Rule], test: Predictions) -> np.ndarray:
    return np.stack([rule.apply(test) for rule in fitted], axis=1)


def _of_truth(log_p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    value: np.ndarray = log_p[np.arange(len(labels)), :, labels]
    return value
