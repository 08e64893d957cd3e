"""The default rule: averages candidate rules, from the plain sum to discriminant analysis, by their held-out likelihood.

    p(c) = sum_k pi_k p_k(c),    pi = argmax sum_n log sum_k pi_k p_k^(-n)(y_n) + sum_k a_k log pi_k

p_k is candidate k fitted on all calibration rows, p_k^(-n) the same candidate fitted without the fold of row n
(cross-fitting: every row is used to fit and to judge, but never both at once). An average is better than a choice: with
few rows the choice is noise, candidates of different shrinkage average to a shrinkage in between, and log-linear rules
and discriminants err on different rows. The pseudo-counts ``a`` (10 rows in all) keep the weights spread where rows are few.
The candidates' own shrinkage makes each of them simpler where there are fewer rows.

Candidate 0 is the decision as it is. Where that is the sum of the modalities' logits, or where no fused decision is
known, it is the plain sum, and the others work on the modalities' log-probabilities. Where the model's decision ``fused`` is
not their sum (FiLM, gates, attention), it is ``fused``, and there are three kinds of others: rules on ``fused`` alone, rules
on both the parts and ``fused``, shrunk towards ``fused``, and rules on the parts alone.

Where the decision as it is cannot be improved, a rule fitted to few rows is worse. So the average must show a gain:

    weight = sigmoid(G - required),    pi <- weight pi + (1 - weight) start

``start`` is e_0, the decision as it is. G is what the average gains over it on n held-out rows, in nats, with pi from
other rows than those. Where ``fused`` is an input, ``start`` is itself an average of ``fused`` and of ``fused`` at one
temperature, by the same formula: so what changes decisions must gain over what makes their confidences honest.
``required`` is the prior log odds for the decision as it is: ``required_gain`` (3 nats) for up to 50 rows,
``-allowed_loss`` (-1 nat) from 90 on, linear in between.

How good the average itself is on rows that it has not seen is told by the same folds: for the rows of a fold, the
candidates fitted without it are averaged with weights, and against a required gain, from the other folds. (Candidates of
those have seen the fold. Fitting them anew without it, ten times the work, changes the held-out gain by less than its
standard error; docs/decision-layer.md has the figures.)

``protect`` bounds what a class may lose against the decision as it is; see :mod:`mmbal.decision.protect`.

References: Yao, Vehtari, Simpson and Gelman, "Using stacking to average Bayesian predictive distributions", Bayesian
Analysis 2018 (stacking of predictive distributions); van der Laan, Polley and Hubbard, "Super learner", 2007
(cross-fitting); the idea that weights at the decision layer should follow the modalities' capabilities, class by class:
Ma and Chen, 2025, arXiv 2510.14411, who leave the method open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.base import Held, Rule
from mmbal.decision.candidates import (
    AS_IT_IS,
    HONEST,
    Fits,
    Fold,
    as_rules,
    candidates_for,
    gathered,
    held_out_gain,
    judged_folds,
    protected,
    until_enough,
)
from mmbal.decision.fitting import rule_from_json, rule_to_json
from mmbal.decision.fused import FUSED, Takes, inputs_of, light
from mmbal.errors import UsageError
from mmbal.maths.arrays import AnyArray, at_least, log, log_softmax, logsumexp, sigmoid, smallest_number, stack, where
from mmbal.maths.mixture import mixture_weights
from mmbal.predictions.format import Predictions
from mmbal.registry import rules
from mmbal.text import NATS, WHOLE, Form, signed

NAMED = 3  # candidates that the explanation names
FEW, MANY = 50, 90  # held-out rows between which the required gain falls
NEGLIGIBLE = 1e-3  # a candidate with less weight than this is left out


@rules.register(family="averaging", year=2025, paper="2510.14411", fitted=True, status="ours")
@dataclass(eq=False)
class Adaptive(Rule):
    """Averages candidate rules by their held-out likelihood.

    ``parameters["weights"] (2, K)`` are for samples with all modalities, and for the others.
    """

    members: list[Rule] = field(default_factory=list)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    trial: dict[str, float] = field(default_factory=dict)  # nats gained and required, and the weight of the average

    version: ClassVar[int] = 3
    older: ClassVar[frozenset[int]] = frozenset({2})
    single: ClassVar[bool] = True
    takes: ClassVar[Takes] = "parts and fused"

    class Config(Config):
        folds: int = Field(5, ge=2, description="F: folds of the cross-fitting")
        repeats: int = Field(2, ge=1, description="how often the folds are drawn anew")
        enough: int = Field(
            50_000, ge=1, description="held-out probabilities (rows x classes) after which no more folds are fitted"
        )
        prior_rows: float = Field(10.0, ge=0, description="sum of a: pseudo-counts that keep the weights spread")
        required_gain: float = Field(3.0, ge=0, description="required gain in nats with few samples")
        allowed_loss: float = Field(1.0, ge=0, description="nats that the average may lose with many samples")
        protect: float | None = Field(
            None, ge=0, le=100, description="pp of accuracy that any class may lose against the decision as it is"
        )
        seed: int = Field(0, description="seed of the folds")

    @classmethod
    def fit(cls, predictions: Predictions, config: Any = None, **known: Any) -> Adaptive:
        if not len(predictions):
            raise UsageError("There are no samples to fit a decision rule on.", "Give a calibration split.")
        config = cls.Config() if config is None else config
        predictions = inputs_of(light(predictions), cls.takes)
        return cls.averaged(predictions, cls.enough(predictions, config), config)

    @classmethod
    def cross_fit(
        cls, predictions: Predictions, config: Any, folds: int, seed: int
    ) -> Iterator[tuple[Adaptive, np.ndarray]]:
        predictions = inputs_of(light(predictions), cls.takes)
        yield from cls.crossed(predictions, list(judged_folds(predictions, folds, seed)), config)

    @classmethod
    def fit_and_cross_fit(
        cls, predictions: Predictions, config: Any, folds: int, seed: int
    ) -> tuple[Adaptive, list[Held], dict[str, list[Held]]]:
        if (folds, seed) != (config.folds, config.seed) or len(predictions) < 2:
            return super().fit_and_cross_fit(predictions, config, folds, seed)
        predictions = inputs_of(light(predictions), cls.takes)
        known = list(judged_folds(predictions, folds, seed))
        fitted = cls.averaged(predictions, cls.enough(predictions, config, known), config)
        others = as_rules(known, predictions)
        return fitted, list(cls.crossed(predictions, known, config)), others

    @classmethod
    def enough(cls, predictions: Predictions, config: Any, known: Sequence[Fold] = ()) -> list[Fold]:
        """The folds that the weights come from; ``known``: those of the first repeat, where they are."""
        return until_enough(cls.repeated(predictions, config, known), config.enough, len(predictions.classes))

    @classmethod
    def repeated(cls, predictions: Predictions, config: Any, known: Sequence[Fold] = ()) -> Iterator[Fold]:
        """The folds of every repeat; ``known``: those of the first, where they are."""
        first = None
        for fold in known or judged_folds(predictions, config.folds, config.seed):
            first = first or fold
            yield fold
        for repeat in range(1, config.repeats):
            yield from judged_folds(predictions, config.folds, config.seed, repeat, first)

    @classmethod
    def crossed(cls, predictions: Predictions, folds: list[Fold], config: Any) -> Iterator[tuple[Adaptive, np.ndarray]]:
        """The average for each of ``folds``, from the others, with the rows ``(n,)`` that it has not seen."""
        for fold in folds:
            others = [other for other in folds if other is not fold]
            yield cls.averaged(predictions, others, config, fold), fold.rows

    @classmethod
    def averaged(
        cls, predictions: Predictions, folds: list[Fold], config: Any, without: Fold | None = None
    ) -> Adaptive:
        """The average of candidates fitted on all rows, or ``without`` a fold, with the weights that ``folds`` tell."""
        modalities, classes = predictions.modalities, predictions.classes
        n = len(predictions) - (0 if without is None else len(without.rows))
        candidates = folds[0].candidates if folds else candidates_for(modalities, len(classes))
        shares = np.array([c.share for c in candidates])
        prior = config.prior_rows * shares / shares.sum()
        held = gathered([fold.likelihood for fold in folds], len(candidates))
        counts = prior * max(1.0, len(held) / n)  # rows held out several times count once
        complete = gathered([fold.likelihood[fold.whole] for fold in folds], len(candidates))
        incomplete = gathered(
            [rows for fold in folds for rows in (fold.likelihood[~fold.whole], fold.hidden)], len(candidates)
        )
        if not len(complete):  # where no row has every modality, there is one kind of row
            complete = incomplete
        stacks = np.stack([mixture_weights(complete, counts), mixture_weights(incomplete, counts)])
        as_it_is = np.eye(len(candidates))[AS_IT_IS]
        if FUSED in modalities and not len(incomplete):
            stacks[1] = as_it_is  # no row shows how the rules do where a modality is missing
        required = float(np.interp(n, (FEW, MANY), (config.required_gain, -config.allowed_loss)))
        start = as_it_is
        if folds and candidates[AS_IT_IS].takes == FUSED:
            honest = float(sigmoid(n * (held[:, HONEST] - held[:, AS_IT_IS]).mean() - required))
            start = (1 - honest) * as_it_is + honest * np.eye(len(candidates))[HONEST]
        gain = held_out_gain(folds, prior, n, start)
        weight = float(sigmoid(gain - required)) if folds else 0.0
        weights = weight * stacks + (1 - weight) * start
        more = {}
        if config.protect is not None and folds:
            share, raised = protected(predictions, folds, weights, config.protect / 100)
            weights = share * weights + (1 - share) * as_it_is
            more = {"raised": raised}
        evidence = []
        if folds:
            right = np.concatenate([fold.right for fold in folds]).mean(axis=0)
            figures = zip(candidates, weights[0], -held.mean(axis=0), right, strict=True)
            evidence = [
                {
                    "rule": c.rule,
                    **c.options,
                    "takes": c.takes,
                    "weight": float(w),
                    "nll": float(nll),
                    "accuracy": float(a),
                }
                for c, w, nll, a in figures
            ]
        kept = np.flatnonzero(weights.max(axis=0) >= NEGLIGIBLE)
        weights = weights[:, kept] / weights[:, kept].sum(axis=1, keepdims=True)
        if without is None:  # only those with a weight are fitted to all rows
            fits, near = Fits(predictions), folds[0].members if folds else [None] * len(candidates)
            members = [fits.of(candidates[k], near[k]) for k in kept.tolist()]
        else:
            members = [without.members[k] for k in kept.tolist()]
        return cls(
            classes,
            modalities,
            {"weights": weights, **more},
            members,
            evidence,
            {"gain": gain, "required": required, "weight": weight},
        )

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        parts = []
        for rule in self.members:
            own = [self.modalities.index(m) for m in rule.modalities]
            parts.append(log_softmax(rule.combine(inputs[:, own], present[:, own])))
        weights = log(at_least(self.tensor("weights", inputs), smallest_number(inputs)))
        of_rows = where((present < 1).any(axis=1)[:, None], weights[1], weights[0])
        mixed = logsumexp(of_rows[..., None] + stack(parts, axis=1), axis=1)
        return mixed + self.tensor("raised", inputs) if "raised" in self.parameters else mixed

    def state(self) -> dict[str, Any]:
        members = [rule_to_json(rule) for rule in self.members]
        return {**super().state(), "members": members, "evidence": self.evidence, "trial": self.trial}

    @classmethod
    def from_state(cls, classes: tuple[str, ...], modalities: tuple[str, ...], state: Mapping[str, Any]) -> Adaptive:
        members = [rule_from_json(stored) for stored in state["members"]]
        parameters = {x: np.asarray(state[x], dtype=np.float64) for x in ("weights", "raised") if x in state}
        trial, evidence = state.get("trial"), list(state["evidence"])
        if trial is None:  # version 2
            old = state["proof"]
            trial = {"gain": old["gain"], "required": old["asked"], "weight": old["trust"]} if old else {}
            evidence = [{**row, "takes": "parts"} for row in evidence]
        return cls(classes, modalities, parameters, members, evidence, {k: float(v) for k, v in trial.items()})

    def summary(self) -> list[dict[str, Any]]:
        """One row a candidate: rule, hyper-parameters, inputs, weight, cross-validated NLL (nats) and accuracy."""
        return self.evidence

    def explain(self) -> str:
        if not self.evidence:
            return "A single sample can't be held out, so the decision is kept as it is."
        by_weight = sorted(self.evidence, key=lambda e: -e["weight"])
        told = [e for e in by_weight if e["weight"] >= 0.05][:NAMED]
        parts = ", ".join(f"{WHOLE.text(e['weight'])} {_name(e)} (NLL {NATS.number(e['nll'])})" for e in told)
        rest = 1 - sum(e["weight"] for e in told)
        best = min(self.evidence, key=lambda e: e["nll"])
        start = self.evidence[AS_IT_IS]
        chief = max(
            (rule for rule in self.members if rules.name_of(type(rule)) in {"pool", "bias", "classwise", "matrix"}),
            key=lambda rule: self.parameters["weights"][0][self.members.index(rule)],
            default=self.members[0],
        )
        gain, required = self.trial["gain"], self.trial["required"]
        condition = f"{required:.1f} are required" if required >= 0 else f"a loss of {-required:.1f} is allowed"
        doubt = (
            f"On held-out samples the average changes the log-likelihood by {signed(Form(1)).number(gain)} nats in all; "
            f"{condition}, so it gets {WHOLE.text(self.trial['weight'])} of the weight. "
            if self.trial["weight"] < 0.95
            else ""
        )
        return (
            f"Averages {len(self.members)} rules by their likelihood on held-out samples: {parts}"
            + (f", {WHOLE.text(rest)} others" if rest >= 0.005 else "")
            + f". {doubt}The best single rule on held-out samples is {_name(best)} with NLL {NATS.number(best['nll'])}; "
            + f"{_name(start)} has {NATS.number(start['nll'])}. {chief.explain()}{self._raised()}"
        )

    def _raised(self) -> str:
        raised = self.parameters.get("raised")
        if raised is None:
            return ""
        each = [f"{c} by {r:.2f}" for c, r in zip(self.classes, raised, strict=True) if r > 0]
        return f" To protect classes, scores are raised (nats): {', '.join(each) or 'none'}."


def _name(evidence: Mapping[str, Any]) -> str:
    name = evidence["rule"]
    if "shared" in evidence:
        name = "one temperature" if evidence["takes"] == FUSED else "sum at one temperature"
    elif "scale" in evidence:
        name = f"{name} ({evidence['scale']} scale)"
    elif "strength" in evidence:
        name = f"{name} (strength {evidence['strength']:g})"
    elif name == "sum":
        return FUSED if evidence["takes"] == FUSED else "the plain sum"
    return {"parts": name, "fused": f"{name} on fused", "parts and fused": f"{name} on parts and fused"}[
        evidence["takes"]
    ]
