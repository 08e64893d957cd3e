"""The flagship: averages a ladder of decision layers, plain sum to discriminant analysis, by what held-out rows say.

    p(c) = sum_k pi_k p_k(c),    pi = argmax sum_n log sum_k pi_k p_k^(-n)(y_n) + sum_k a_k log pi_k

p_k is rung k fitted on all calibration rows, p_k^(-n) the same rung fitted without the fold of row n (cross-fitting:
every row serves to fit and to judge, never both at once). Averaging beats choosing: with few rows the choice is noise,
rungs of different shrinkage average to a shrinkage in between, and log-linear rungs and discriminants err on different
rows. The pseudo-counts ``a`` (10 rows in all) keep the weights spread where rows are few. The rungs' own shrinkage makes
each the simpler the fewer rows there are.

Where the plain sum is right already, whatever is fitted to few rows is worse. So the average has to prove itself:

    trust = sigmoid(G - asked),    pi <- trust pi + (1 - trust) e_sum

G is what the average gains on n held-out rows over the plain sum, in nats, with weights that those rows had no part in.
``asked`` is the prior log odds for the sum: ``proof`` (3 nats) for up to 50 rows, ``-credit`` (-1 nat) from 90 on, linear
in between; so with few rows the average has to prove that it is better, with many the sum.

References: Yao, Vehtari, Simpson and Gelman, "Using stacking to average Bayesian predictive distributions", Bayesian
Analysis 2018 (stacking of predictive distributions); van der Laan, Polley and Hubbard, "Super learner", 2007
(cross-fitting); the idea that weights at the decision layer should follow the modalities' capabilities, class by class:
Ma and Chen, 2025, arXiv 2510.14411, who leave the method open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.special import expit, logsumexp
from torch import Tensor

from mmbal.config import Config
from mmbal.decision.base import Rule
from mmbal.decision.fitting import rule_from_json, rule_to_json
from mmbal.decision.linear import LogLinear
from mmbal.decision.rules.discriminant import Discriminant
from mmbal.decision.rules.pool import Pool
from mmbal.decision.rules.temperature import inverse_temperatures
from mmbal.errors import UsageError
from mmbal.maths.folds import folds_of
from mmbal.maths.loglinear import FAST
from mmbal.maths.mixture import mixture_weights
from mmbal.predictions.format import Predictions
from mmbal.registry import rules

LADDER: tuple[tuple[str, dict[str, Any], float], ...] = (  # rule, its hyper-parameters, its share a priori
    ("sum", {}, 1.0),
    ("best", {}, 0.3),
    ("temperature", {"shared": True}, 1.0),
    ("pool", {}, 1.0),
    ("bias", {}, 1.0),
    ("classwise", {}, 1.0),
    ("matrix", {"strength": 0.3}, 1.0),
    ("matrix", {"strength": 0.6}, 1.0),
    ("matrix", {"strength": 1.2}, 1.0),
    ("matrix", {"strength": 2.4}, 1.0),
    ("discriminant", {"scale": "log"}, 1.0),
    ("discriminant", {"scale": "root"}, 1.0),
)
FEW, MANY = 50, 90  # held-out rows: up to FEW the average must prove itself, from MANY on the plain sum
SUM = 0  # the rung that all others are measured against
NEGLIGIBLE = 1e-3  # a rung with less weight than this is left out


@rules.register(family="averaging", year=2025, paper="2510.14411", fitted=True, status="ours")
@dataclass(eq=False)
class Adaptive(Rule):
    """A mixture of the ladder's rungs; ``parameters["weights"] (2, K)`` are for complete and for incomplete rows."""

    members: list[Rule] = field(default_factory=list)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    proof: dict[str, float] = field(default_factory=dict)  # nats gained, nats asked for, and the trust that follows

    version: ClassVar[int] = 2

    class Config(Config):
        folds: int = Field(5, ge=2, description="F: folds of the cross-fitting")
        repeats: int = Field(2, ge=1, description="how often the folds are drawn anew")
        enough: int = Field(
            50_000, ge=1, description="held-out votes (rows x classes) after which no more folds are fitted"
        )
        prior_rows: float = Field(10.0, ge=0, description="sum of a: pseudo-counts that keep the weights spread")
        proof: float = Field(3.0, ge=0, description="nats that the average must gain over the plain sum on few rows")
        credit: float = Field(1.0, ge=0, description="nats that it may lose to the plain sum on many rows")
        seed: int = Field(0, description="seed of the folds")

    @classmethod
    def fit(cls, predictions: Predictions, config: Any = None, **known: Any) -> Adaptive:
        if not len(predictions):
            raise UsageError("There are no rows to fit a decision rule on.", "Give a calibration split.")
        config = cls.Config() if config is None else config
        members = climb(predictions)
        shares = np.array([share for *_, share in LADDER])
        prior = config.prior_rows * shares / shares.sum()
        folds = judge(predictions, members, config)
        held = gathered([fold.likelihood for fold in folds])
        counts = prior * max(1.0, len(held) / len(predictions))  # rows held out several times count once
        complete = gathered([fold.likelihood[fold.whole] for fold in folds])
        incomplete = gathered([rows for fold in folds for rows in (fold.likelihood[~fold.whole], fold.hidden)])
        if not len(complete):  # where no row has every modality, there is one kind of row
            complete = incomplete
        stacks = np.stack([mixture_weights(complete, counts), mixture_weights(incomplete, counts)])
        gain = proven(folds, prior, len(predictions))
        asked = float(np.interp(len(predictions), (FEW, MANY), (config.proof, -config.credit)))
        trust = float(expit(gain - asked)) if folds else 0.0
        weights = trust * stacks + (1 - trust) * np.eye(len(LADDER))[SUM]
        evidence = []
        if folds:
            accuracy = np.concatenate([fold.right for fold in folds]).mean(axis=0)
            figures = zip(LADDER, weights[0], -held.mean(axis=0), accuracy, strict=True)
            evidence = [
                {"rule": name, **options, "weight": float(weight), "nll": float(nll), "accuracy": float(right)}
                for (name, options, _), weight, nll, right in figures
            ]
        kept = np.flatnonzero(weights.max(axis=0) >= NEGLIGIBLE)
        weights = weights[:, kept] / weights[:, kept].sum(axis=1, keepdims=True)
        return cls(
            predictions.classes,
            predictions.modalities,
            {"weights": weights},
            [members[k] for k in kept],
            evidence,
            {"gain": gain, "asked": asked, "trust": trust},
        )

    def combine(self, inputs: Tensor, present: Tensor) -> Tensor:
        fused = torch.stack([torch.log_softmax(rule.combine(inputs, present), dim=-1) for rule in self.members], dim=1)
        weights = self.tensor("weights", inputs).clamp_min(torch.finfo(inputs.dtype).tiny).log()
        return torch.logsumexp(weights[(present.min(dim=1).values < 1).long()][..., None] + fused, dim=1)

    def state(self) -> dict[str, Any]:
        members = [rule_to_json(rule) for rule in self.members]
        return {**super().state(), "members": members, "evidence": self.evidence, "proof": self.proof}

    @classmethod
    def from_state(cls, classes: tuple[str, ...], modalities: tuple[str, ...], state: Mapping[str, Any]) -> Adaptive:
        members = [rule_from_json(stored) for stored in state["members"]]
        weights = np.asarray(state["weights"], dtype=np.float64)
        proof = {name: float(value) for name, value in state["proof"].items()}
        return cls(classes, modalities, {"weights": weights}, members, list(state["evidence"]), proof)

    def summary(self) -> list[dict[str, Any]]:
        """One row a rung: rule, hyper-parameters, weight, and its cross-validated NLL (nats) and accuracy."""
        return self.evidence

    def explain(self) -> str:
        if not self.evidence:
            return "One row can't be held out from itself: the plain sum is kept."
        by_weight = sorted(self.evidence, key=lambda e: -e["weight"])
        told = [e for e in by_weight if e["weight"] >= 0.05]
        parts = ", ".join(f"{e['weight']:.0%} {_rung(e)} (NLL {e['nll']:.3f})" for e in told)
        rest = 1 - sum(e["weight"] for e in told)
        best = min(self.evidence, key=lambda e: e["nll"])
        plain = self.evidence[SUM]
        chief = max(
            (rule for rule in self.members if rules.name_of(type(rule)) in {"pool", "bias", "classwise", "matrix"}),
            key=lambda rule: self.parameters["weights"][0][self.members.index(rule)],
            default=self.members[0],
        )
        doubt = (
            f"On held-out rows the average gains {self.proof['gain']:.1f} nats over the plain sum, where more than "
            f"{self.proof['asked']:.1f} are asked for: it is trusted to {self.proof['trust']:.0%}. "
            if self.proof["trust"] < 0.95
            else ""
        )
        return (
            f"Averages {len(self.members)} rules by their likelihood on held-out rows: {parts}"
            + (f", {rest:.0%} others" if rest >= 0.005 else "")
            + f". {doubt}Alone, the best on held-out rows is {_rung(best)} with NLL {best['nll']:.3f}; "
            + f"the plain sum has {plain['nll']:.3f}. {chief.explain()}"
        )


def climb(predictions: Predictions, start: list[Rule] | None = None) -> list[Rule]:
    """Every rung fitted on all rows; a rung starts from ``start``, or from the rung below if that is of its kind.

    The log-linear ones are solved to 1e-3 nats a row only. On the thirteen columns of docs/decision-layer.md the average
    of these has 73.08 % and 0.7049 nats, that of exact solutions 73.06 % and 0.7049 nats in more than twice the time.
    """
    beta = inverse_temperatures(predictions)
    fitted: list[Rule] = []
    for k, (name, options, _) in enumerate(LADDER):
        cls = rules.get(name)
        known: dict[str, Any] = {}
        if issubclass(cls, LogLinear):
            below = fitted[-1] if type(fitted[-1]) is cls else None
            known = {"beta": beta, "start": below if start is None else start[k], "tolerance": FAST}
        elif cls in (Pool, Discriminant):
            known = {"beta": beta}
        fitted.append(cls.fit(predictions, cls.Config(**options), **known))
    return fitted


@dataclass(frozen=True)
class Fold:
    """What the rungs, fitted on the other folds, say of the ``n`` rows of one."""

    repeat: int
    likelihood: np.ndarray  # (n, K): log-likelihood of the rows as they are
    right: np.ndarray  # (n, K): whether the rung is right
    whole: np.ndarray  # (n,): whether the row has every modality
    hidden: np.ndarray  # (M n, K): log-likelihood with one modality after the other hidden; no rows where M = 1


def judge(predictions: Predictions, members: list[Rule], config: Any) -> list[Fold]:
    """Every fold of every repeat, until ``config.enough`` votes are judged; none where there is one row only."""
    n, classes = predictions.labels.size, len(predictions.classes)
    whole = np.all(predictions.present_mask(), axis=1)
    folds: list[Fold] = []
    held = 0
    for repeat in range(config.repeats if n > 1 else 0):
        fold = folds_of(predictions.labels, config.folds, config.seed + repeat, predictions.group)
        for part in range(fold.max() + 1):
            if held >= config.enough:
                return folds
            rows = np.flatnonzero(fold == part)
            held += len(rows) * classes
            rungs = climb(predictions.take(fold != part), start=members)
            test = predictions.take(rows)
            likelihood, right = _judged(rungs, test, test.present)
            hidden = [
                _judged(rungs, test, {**test.present, m: np.zeros(len(test), dtype=bool)})[0]
                for m in predictions.modalities
                if len(predictions.modalities) > 1
            ]
            folds.append(Fold(repeat, likelihood, right, whole[rows], gathered(hidden)))
    return folds


def proven(folds: list[Fold], prior: np.ndarray, n: int) -> float:
    """Nats that the average gains over the plain sum on ``n`` rows, each fold weighed by the others of its repeat."""
    gains = []
    for fold in folds:
        others = [other.likelihood for other in folds if other.repeat == fold.repeat and other is not fold]
        weights = mixture_weights(gathered(others), prior)
        gains.append(logsumexp(fold.likelihood, axis=1, b=weights) - fold.likelihood[:, SUM])
    return n * float(np.concatenate(gains).mean()) if gains else 0.0


def gathered(parts: list[np.ndarray]) -> np.ndarray:
    """Log-likelihoods ``(R, K)`` of all parts, also where there are none."""
    return np.concatenate([np.zeros((0, len(LADDER))), *parts])


def _judged(rungs: list[Rule], test: Predictions, present: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(test))
    fused = [rule.apply(test, present) for rule in rungs]
    likelihood = np.stack([log_p[rows, test.labels] for log_p in fused], axis=1)
    return likelihood, np.stack([log_p.argmax(axis=1) == test.labels for log_p in fused], axis=1)


def _rung(evidence: Mapping[str, Any]) -> str:
    if "shared" in evidence:
        return "sum at one temperature"
    if "scale" in evidence:
        return f"{evidence['rule']} ({evidence['scale']} scale)"
    return evidence["rule"] + (f" (strength {evidence['strength']:g})" if "strength" in evidence else "")
