"""Compares decision rules with the decision as it is on held-out samples, and says whether one is worth storing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbal.decision.base import Held
from mmbal.decision.fitting import cross_fit_ordered, fit_ordered, held_out
from mmbal.decision.fused import FUSED, as_it_is, light
from mmbal.decision.gains import Gain, class_tests, gain_bounds
from mmbal.maths.bootstrap import SHARE, Bootstrap, Estimate
from mmbal.maths.scoring import brier_scores, calibration_errors, correct
from mmbal.predictions.format import Predictions, Source
from mmbal.predictions.order import canonical, canonical_order
from mmbal.predictions.source import predictions_of
from mmbal.progress import steps
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, ERROR, NATS, NATS_DIFFERENCE, p_value
from mmbal.text import SHARE as SHARES

COMPARED = (
    "sum", "mean", "best", "temperature", "pool", "bias", "classwise", "matrix", "discriminant", "stacking", "adaptive",
)  # fmt: skip
ACCURACY_MARGIN, NLL_MARGIN = 0.02, 0.02  # what counts as no loss: 2 pp of accuracy, and nats a sample
MOST_CLASSES = 20  # rows of the table by class that still read well


def compare_rules(
    predictions: Source,
    names: Sequence[str] = COMPARED,
    folds: int = 5,
    seed: int = 0,
    fit_on: Source | None = None,
    replicates: int = 1000,
) -> list[dict[str, Any]]:
    """One row for ``fused``, the decision as it is, and one a rule: accuracy, NLL, ECE, Brier score and paired gains.

    The gains are over ``fused``, in accuracy and in nats; without a fused decision the plain sum is the decision as it
    is. Every figure but the Brier score is an :class:`mmbal.maths.bootstrap.Estimate` with a 95 % interval: Student's t of
    a gain, as `mmbal diagnose` gives of the decision gap, and a bootstrap of the others. Whole groups are the units if there
    are enough of them. Rules are cross-fitted on ``predictions``, or fitted on ``fit_on`` where that is given. A rule that
    was stored before does not count: the decision as it is is the model's.
    """
    fitted = None if fit_on is None else predictions_of(fit_on)
    return Comparison.of(predictions_of(predictions), names, folds, seed, fitted, replicates).rows()


@dataclass(frozen=True)
class Judged:
    """What is kept of one rule's log-probabilities: ``right (N,)``, ``nats (N,)`` of the true class, and its calibration.

    ``bounds``: of a sample's gain in accuracy over the decision as it is.
    """

    right: np.ndarray
    nats: np.ndarray
    ece: Estimate | None
    brier: float
    bounds: tuple[float, float] | None

    @classmethod
    def of(cls, log_p: np.ndarray, start: np.ndarray, labels: np.ndarray, boot: Bootstrap) -> Judged:
        """Of log-probabilities ``(N, C)``, beside those of the decision as it is."""
        nats = log_p[np.arange(len(labels)), labels]
        bounds = gain_bounds(log_p, start)
        right, p = correct(log_p, labels), np.exp(log_p)
        ece = boot.estimate(calibration_errors(boot, p, labels))
        return cls(right, nats, ece, float(brier_scores(p, labels).mean()), bounds)


@dataclass(frozen=True)
class Comparison:
    """The decision as it is and several rules, judged on the same samples that the rules have not seen."""

    predictions: Predictions
    judged: dict[str, Judged]  # by name, first ``fused``
    boot: Bootstrap

    @classmethod
    def of(
        cls,
        predictions: Predictions,
        names: Sequence[str],
        folds: int = 5,
        seed: int = 0,
        fit_on: Predictions | None = None,
        replicates: int = 1000,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        known: Mapping[str, Sequence[Held]] | None = None,
    ) -> Comparison:
        """Cross-fit the rules called ``names``, or fit them on ``fit_on``; ``config``: hyper-parameters by rule.

        ``known``: rules that were fitted already, each with the rows ``(n,)`` that it is to decide. Of one rule after the
        other the log-probabilities are judged and given up, so that memory does not grow with their number.
        """
        order = canonical_order(predictions.unruled or predictions)
        own, place = light(predictions.unruled or predictions).take(order), np.argsort(order)
        source = None if fit_on is None else canonical(light(fit_on.unruled or fit_on))
        boot, start = Bootstrap.of(len(own), own.group, replicates, seed), as_it_is(own)
        judged = {FUSED: Judged.of(start, start, own.labels, boot)}
        for name in steps([name for name in dict.fromkeys(names) if name != FUSED]):
            options = (config or {}).get(name, {})
            if known and name in known:
                log_p = held_out(own, [(rule, place[rows]) for rule, rows in known[name]])
            elif source is None:
                log_p = cross_fit_ordered(own, name, folds, seed, **options)
            else:
                log_p = fit_ordered(source, name, **options).apply(own)
            judged[name] = Judged.of(log_p, start, own.labels, boot)
        return cls(own, judged, boot)

    def rows(self) -> list[dict[str, Any]]:
        """The table of :func:`compare_rules`."""
        start, boot = self.judged[FUSED], self.boot
        return [
            {
                "rule": name,
                "accuracy": boot.mean(own.right, bounds=SHARE),
                "nll": boot.mean(-own.nats),
                "ece": own.ece,
                "brier": own.brier,
                "accuracy_gain": Gain.of(boot, own.right - start.right, bounds=own.bounds),
                "nll_gain": Gain.of(boot, own.nats - start.nats),
            }
            for name, own in self.judged.items()
        ]

    def classes(self, name: str) -> list[dict[str, Any]]:
        """One row a class that has rows: accuracy of ``fused`` and of the rule, the paired gain, and its p by Holm."""
        labels, names = self.predictions.labels, self.predictions.classes
        before, after, bounds = self.judged[FUSED].right, self.judged[name].right, self.judged[name].bounds
        found = []
        for k, p in class_tests(after - before, labels, self.predictions.group).items():
            rows = np.flatnonzero(labels == k)
            found.append(
                {
                    "class": names[k],
                    "samples": len(rows),
                    "fused": float(before[rows].mean()),
                    "accuracy": float(after[rows].mean()),
                    "gain": Gain.of(self.boot, after[rows] - before[rows], rows, bounds),
                    "p_holm": p,
                }
            )
        return found


def at_least_as_good(
    row: Mapping[str, Any], accuracy_margin: float = ACCURACY_MARGIN, nll_margin: float = NLL_MARGIN
) -> tuple[bool, str]:
    """Whether a rule is shown to be at least as good as the decision as it is, and the sentence that says why.

    ``row``: the rule's row of :func:`compare_rules`, on rows that it was not fitted on. It is shown where both gains, in
    accuracy and in nats, lie above minus the margin with 95 % confidence (two one-sided tests of non-inferiority).
    """
    figures = (row["accuracy_gain"], accuracy_margin), (row["nll_gain"], nll_margin)
    if any(gain.least is None for gain, _ in figures):
        return False, f"The samples are too few to show whether '{row['rule']}' is as good as the decision as it is."
    shown = all(gain.least >= -margin for gain, margin in figures)
    accuracy, nll = row["accuracy_gain"], row["nll_gain"]
    return shown, (
        f"On held-out samples '{row['rule']}' is {'' if shown else 'not shown to be '}at least as good as the decision as "
        f"it is. With 95 % confidence its gain in accuracy is at least {DIFFERENCE.text(accuracy.least)} (allowed: "
        f"{DIFFERENCE.text(-accuracy_margin)}), and in log-likelihood at least {NATS_DIFFERENCE.text(nll.least)} nats "
        f"(allowed: {NATS_DIFFERENCE.text(-nll_margin)})."
    )


def gain_of(row: Mapping[str, Any]) -> float:
    """The gain in a row of the table by class, to sort by."""
    return float(row["gain"].value)


def rules_table(rows: list[dict[str, Any]], chosen: str, title: str) -> Table:
    """The rules side by side, with the chosen one marked; ``rows`` as of :func:`compare_rules`."""
    columns = [
        Column("rule", [("▶ " if row["rule"] == chosen else "  ") + row["rule"] for row in rows]),
        Column("accuracy", [row["accuracy"] for row in rows], SHARES),
        Column("gain (pp)", [row["accuracy_gain"] for row in rows], DIFFERENCE.bare()),
        Column("NLL (nats)", [row["nll"] for row in rows], NATS),
        Column("ECE", [row["ece"] for row in rows], ERROR, drop=1),
    ]
    caption = (
        "fused: the decision as it is. Gains are over it. Brackets, where there is room for them, hold 95 % intervals."
    )
    return Table.of(columns, title, caption)


def classes_table(rows: list[dict[str, Any]], chosen: str) -> Table:
    """The accuracy of each class under the decision as it is and under the rule ``chosen``."""
    cut = ""
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=gain_of)[:MOST_CLASSES]
        cut = f" The {MOST_CLASSES} classes that gain least; --json has all."
    columns = [
        Column("class", [row["class"] for row in rows]),
        Column("samples", [row["samples"] for row in rows], drop=2),
        Column("fused", [row["fused"] for row in rows], SHARES),
        Column(chosen, [row["accuracy"] for row in rows], SHARES),
        Column("gain (pp)", [row["gain"] for row in rows], DIFFERENCE.bare()),
        Column("p", [p_value(row["p_holm"]) for row in rows], drop=1),
    ]
    caption = "Accuracy by class. p: paired sign test (of groups where there are groups), corrected by Holm." + cut
    return Table.of(columns, caption=caption)
