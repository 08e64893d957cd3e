"""A decision layer under which no class loses much: additions per class, and a mixture with the decision as it is.

    p(c) ~ exp(s_c) (a p_rule(c) + (1 - a) p_fused(c)),    s_c >= 0,  0 <= a <= 1

A fitted rule is best on average, but a class that the decision as it is favours can lose accuracy. Raising the scores of
such a class is the optimal answer: among all decisions from given probabilities, the one with the highest accuracy under a
bound on the accuracy of classes multiplies their probabilities by constants (Neyman and Pearson's lemma for several
classes). The mixture is there for bounds that no additions meet: a = 0 is the decision as it is, which loses nothing.

Whether a bound is met is judged on held-out rows, by a one-sided 95 % t bound of the class's loss, where whole groups are
the independent units. So the bound is one of what the class loses on new rows like these, with 95 % confidence for each
class. It is no promise for other rows, such as another set of speakers that is not like these.
Reference for the additions: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv 2007.07314, where they
follow from the class frequencies; here they follow from the bound.
"""

from __future__ import annotations

import numpy as np

from mmbal.maths.distributions import t_quantile
from mmbal.maths.scoring import correct

SHARES = tuple(np.linspace(1, 0, 11).tolist())  # a
CONFIDENCE = 0.95  # with which a class loses at most the bound
STEP, MOST = 0.05, 3.0  # nats that a class is raised by at a time, and in all


def within_bound(
    rule: np.ndarray, fused: np.ndarray, labels: np.ndarray, bound: float, unit: np.ndarray
) -> tuple[float, np.ndarray]:
    """The share ``a`` and the additions ``s (C,)`` with the highest accuracy among those that keep every class's loss.

    ``rule`` and ``fused (R, C)`` are held-out log-probabilities, ``labels (R,)``; ``bound`` is the accuracy in [0, 1] that a
    class may lose. ``unit (R,)``: the row, or the group of rows, that each of the R stands for; rows may be held out twice.
    """
    right = correct(fused, labels)
    best = (right.mean(), -np.inf, 0.0, np.zeros(rule.shape[1]))
    for share in SHARES[:-1]:
        mixed = np.logaddexp(np.log(share) + rule, np.log1p(-share) + fused) if share < 1 else rule
        raised = additions(mixed, right, labels, bound, unit)
        if raised is None:
            continue
        scores = mixed + raised
        own = scores[np.arange(len(labels)), labels] - np.logaddexp.reduce(scores, axis=1)
        found = (correct(scores, labels).mean(), own.mean(), share, raised)
        best = max(best, found, key=lambda candidate: candidate[:2])
    return best[2], best[3]


def additions(
    log_p: np.ndarray, right: np.ndarray, labels: np.ndarray, bound: float, unit: np.ndarray
) -> np.ndarray | None:
    """The smallest additions ``s (C,)``, in steps, under which no class may lose more than ``bound``; None where none do.

    ``right (R,)``: how far the decision as it is is right on the rows of ``log_p (R, C)``.
    """
    raised = np.zeros(log_p.shape[1])
    while raised.max() < MOST:
        over = most_lost(right - correct(log_p + raised, labels), labels, len(raised), unit) > bound
        if not over.any():
            return raised
        raised[over] += STEP
    return None


def most_lost(lost: np.ndarray, labels: np.ndarray, classes: int, unit: np.ndarray) -> np.ndarray:
    """What a class loses at most, with ``CONFIDENCE``: the one-sided t bound ``(C,)`` of the mean of ``lost (R,)`` in it.

    ``unit (R,)``: the row, or the group of rows, that each of the R stands for; units are independent, rows of one are not
    (the cluster-robust standard error, as of :class:`mmbal.maths.bootstrap.Mean`). 0 for a class without rows, and the
    mean itself for one with a single unit.
    """
    count = np.bincount(labels, minlength=classes)
    mean = np.bincount(labels, lost, minlength=classes) / np.maximum(count, 1)
    cell = unit * classes + labels
    cells = (int(unit.max()) + 1, classes)
    sums = np.bincount(cell, lost - mean[labels], minlength=cells[0] * classes).reshape(cells)
    units = (np.bincount(cell, minlength=cells[0] * classes).reshape(cells) > 0).sum(axis=0)
    freedom = np.maximum(units - 1, 1)
    error = np.sqrt(units / freedom * (sums**2).sum(axis=0)) / np.maximum(count, 1)
    quantile = [t_quantile(own, CONFIDENCE) for own in freedom.tolist()]
    value: np.ndarray = mean + np.where(units > 1, quantile * error, 0.0)
    return value
