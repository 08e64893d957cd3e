"""A rule as sums that anybody can evaluate: ``p = softmax(b + sum_m W_m x_m)``, where the rule is linear in its inputs.

Whether it is linear is measured, not stated by the rule: the weights are those of least squares on random rows, and they
must give the rule's scores on other random rows. So this holds for every rule, also for one of a plug-in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbal.decision.base import Rule
from mmbal.decision.fused import FUSED, centred
from mmbal.maths.arrays import log_softmax
from mmbal.predictions.format import subsets_of

MOST = 5  # modalities up to which every set of present ones has its own weights; above, the whole set alone
TOLERANCE = 1e-7  # of scores, relative: a larger gap shows that a rule is not linear
SPREAD = 2.0  # standard deviation of the random rows


@dataclass(frozen=True)
class LinearForm:
    """``inputs``: x_m are logits, their log-softmax, or features. By set of present modalities: ``W_m (C, D_m)``, ``b``."""

    inputs: str
    weights: dict[tuple[str, ...], tuple[dict[str, np.ndarray], np.ndarray]]

    def apply(self, given: dict[str, np.ndarray]) -> np.ndarray:
        """Log-probabilities ``(N, C)`` of inputs ``(N, D_m)`` of one of the sets of modalities."""
        weight, bias = next(found for names, found in self.weights.items() if set(names) == set(given))
        x = {m: log_softmax(v, axis=-1) if self.inputs == "log_probabilities" else v for m, v in given.items()}
        total: np.ndarray = bias + sum(x[m] @ w.T for m, w in weight.items())
        return np.asarray(log_softmax(total, axis=-1))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        sets = [
            {"modalities": list(names), "bias": bias.tolist(), "weights": {m: w.tolist() for m, w in weight.items()}}
            for names, (weight, bias) in self.weights.items()
        ]
        return {"inputs": self.inputs, "sets": sets}


def linear_form(rule: Rule) -> LinearForm | None:
    """The rule as sums; None where it is not linear in its inputs."""
    for inputs in ("features",) if rule.source == "features" else ("logits", "log_probabilities"):
        found = {}
        for names in present_sets(rule):
            fitted = _fitted(rule, names, inputs)
            if fitted is None:
                break
            found[names] = fitted
        else:
            return LinearForm(inputs, found)
    return None


def present_sets(rule: Rule) -> list[tuple[str, ...]]:
    """The sets of modalities that a row may have, the whole first; the model's own decision is in all of them."""
    own = tuple(m for m in rule.modalities if m != FUSED)
    known = [names for names in subsets_of(own)[::-1] if names] if len(own) <= MOST else [own]
    return [(*names, FUSED) if rule.takes_fused else names for names in known or [()]]


def _fitted(rule: Rule, names: tuple[str, ...], inputs: str) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    random, widths = np.random.default_rng(0), [rule.width(m) for m in names]
    n = 2 * sum(widths) + 20
    given = {m: random.normal(scale=SPREAD, size=(2 * n, rule.width(m))) for m in rule.modalities}
    scores = centred(rule.apply(given, present={m: np.full(2 * n, m in names) for m in rule.modalities}))
    x = {m: log_softmax(z, axis=-1) for m, z in given.items()} if inputs == "log_probabilities" else given
    design = np.concatenate([*(x[m] for m in names), np.ones((2 * n, 1))], axis=1)
    solution = np.linalg.lstsq(design[:n], scores[:n], rcond=None)[0]
    if np.abs(design[n:] @ solution - scores[n:]).max() > TOLERANCE * max(1.0, np.abs(scores).max()):
        return None
    parts = np.split(solution[:-1].T, np.cumsum(widths)[:-1], axis=1)
    return dict(zip(names, parts, strict=True)), solution[-1]
