"""The family of log-linear decision layers, from one weight per modality to a matrix, and how they are shrunk.

Let ``v_m = log softmax(beta_m log p_m)`` be the log-probabilities of modality m, calibrated alone (``beta_m`` its inverse
temperature), ``v_0 = log mean_m exp v_m`` their linear pool, ``u_m`` v_m less its mean over the classes, and
``l_m`` the level of the raw logits, beta_m times their mean over the classes less that of the calibration rows:

    o = sum_m w_m v_m + w_0 v_0 + b + sum_m (d_m * u_m + e_m l_m) + sum_m (F_m u_m + G_m (p_m - 1 / C)),   p = softmax(o)

Every rule of the family is a MAP estimate in some of these terms, with Gaussian priors that shrink towards the plain
consensus ``w_m = 1 / M``, all else 0; where the model's own decision is one of the inputs, towards that alone. A prior's
scale is stated in nats: ``strength`` is the standard deviation a priori of what the block adds to a logit. The size of the
log-probabilities is divided out, so ``strength`` means the same for 2 classes and 100, and for small and large logits.
The shrinkage of class-wise terms towards the shared weights is that of a hierarchical model (partial pooling; Gelman and
Hill 2007, ch. 12). The linear pool v_0 is there for modalities that are sometimes confidently wrong: in a
log-linear pool they overrule the others, in a linear pool they do not. The level is what a softmax removes; without it a
weight per class could not act on a logit, since d_c logit_c = d_c (u_c + l).
As for a temperature, one pseudo-row's worth of uniform labels joins the data, so that separable data have a solution.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.base import Rule, centre_of_weights
from mmbal.decision.fused import Takes
from mmbal.decision.rules.mean import mean_log_probabilities
from mmbal.decision.rules.temperature import inverse_temperatures, temperature
from mmbal.maths.arrays import AnyArray, concatenate, exp, like, log_softmax
from mmbal.maths.loglinear import EXACT, Design, maximum_a_posteriori, soft_targets
from mmbal.predictions.format import Predictions
from mmbal.text import PLAIN, signed

SIGNED = signed(PLAIN)

WEIGHT_SCALE = 0.5  # prior standard deviation of a modality's weight, whose mean is 1 / M
MIXTURE_SCALE = 1.0  # of the linear pool's weight, whose mean is 0
BIAS_SCALE = 0.5  # of a class's bias, in nats
MATRICES = {
    "matrix": 2,
    "stacking": 1,
}  # rules whose parameters grow with the square of the classes, and how many matrices
MOST_ENTRIES = 2_000_000  # of such matrices, in all: so many are fitted only if they are asked for by name
SIDE_SHARE = 0.5  # of the strength, for levels and for probabilities: side terms to those in log-probabilities
FAINT = 1e-6  # mean square of log-probabilities below which a block carries no information and has no scale


def too_large(rule: str, modalities: int, classes: int) -> bool:
    """Whether a rule has so many parameters that it is fitted only where it is asked for by its name.

    With 1,000 classes and two modalities a matrix has four million entries, and one product with them takes minutes.
    """
    return MATRICES.get(rule, 0) * modalities * classes**2 >= MOST_ENTRIES


class Problem(NamedTuple):
    """What a log-linear rule is fitted to: ``beta (M,)``, ``level (M,)``, the design and its groups of features."""

    beta: np.ndarray
    level: np.ndarray
    design: Design
    groups: tuple[int, ...]  # columns of each
    target: np.ndarray  # (N, C)


class LogLinear(Rule):
    """A decision layer of the family; a subclass names the ``blocks`` it has and may let the user set ``strength``."""

    warm: ClassVar[bool] = True
    takes: ClassVar[Takes] = "parts and fused"
    blocks: ClassVar[frozenset[str]] = frozenset()  # of "mixture", "bias", "classwise", "matrix"

    class Config(Config):
        strength: float = Field(0.6, gt=0, le=100, description="prior standard deviation of a block's effect, in nats")

    @classmethod
    def estimate(
        cls,
        predictions: Predictions,
        config: Any,
        problem: Problem | None = None,
        start: Rule | None = None,
        tolerance: float = EXACT,
    ) -> dict[str, np.ndarray]:
        """The MAP parameters, solved to ``tolerance`` nats a row.

        The ``problem``, where it is known, and ``start``, a fit of this rule on like data or of one with fewer blocks, save
        time.
        """
        problem = cls.problem(predictions) if problem is None else problem
        design, centre = problem.design, centre_of_weights(predictions.modalities)
        mean, precision = cls.prior(design, centre, problem.groups, config.strength)
        if start is not None and start.modalities != predictions.modalities:
            start = None
        warm = None if start is None else _filled(start, design.sizes)
        found = design.split(maximum_a_posteriori(design, problem.target, mean, precision, warm, tolerance))
        return {"beta": problem.beta, "level": problem.level, **dict(zip(_BLOCKS, found, strict=True))}

    @classmethod
    def problem(cls, predictions: Predictions, beta: np.ndarray | None = None) -> Problem:
        """What the fits of every strength share; ``beta``, where it is known, saves time."""
        beta = inverse_temperatures(predictions) if beta is None else beta
        logits = np.stack([predictions.logits[m] for m in predictions.modalities], axis=1)
        present = predictions.present_mask().astype(logits.dtype)
        level = (logits.mean(axis=-1) * present).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
        experts, columns, groups = cls.design(logits, present, like(beta, logits), level)
        experts = np.ascontiguousarray(experts.transpose(1, 0, 2)).transpose(1, 0, 2)  # as sums over experts need it
        features = np.concatenate([columns[:, :0, 0], *groups], axis=1)
        design = Design(experts, columns, features, "bias" in cls.blocks)
        sizes = tuple(x.shape[1] for x in groups)
        return Problem(beta, level, design, sizes, soft_targets(predictions.labels, logits))

    @classmethod
    def design(
        cls, logits: AnyArray, present: AnyArray, beta: AnyArray, level: AnyArray
    ) -> tuple[AnyArray, AnyArray, list[AnyArray]]:
        """What the scores are linear in: experts ``(N, K, C)``, columns ``(N, M or 0, C)``, groups of features."""
        n, m, c = logits.shape
        v = log_softmax(beta[:, None] * logits)
        masked = v * present[..., None]
        experts = masked
        if "mixture" in cls.blocks:
            experts = concatenate([masked, log_softmax(mean_log_probabilities(v, present))[:, None]], axis=1)
        centred = masked - masked.mean(axis=-1, keepdims=True)
        groups = []
        if "classwise" in cls.blocks:
            groups.append(beta * (logits.mean(axis=-1) - level) * present)
        if "matrix" in cls.blocks:
            groups.append(centred.reshape(n, m * c))
            groups.append(((exp(v) - 1 / c) * present[..., None]).reshape(n, m * c))
        return experts, centred if "classwise" in cls.blocks else centred[:, :0], groups

    @classmethod
    def prior(
        cls, design: Design, centre: np.ndarray, groups: tuple[int, ...], strength: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and precision of every parameter, for weights about ``centre (M,)`` and groups of features of these sizes."""
        c, sizes, modalities = design.experts.shape[2], design.sizes, len(centre)
        mean = np.zeros(sum(sizes))
        mean[:modalities] = centre
        weights = [WEIGHT_SCALE] * modalities + [MIXTURE_SCALE] * (sizes[0] - modalities)
        blocks = [1 / np.array(weights) ** 2, np.full(sizes[1], _energy(design.columns) / strength**2)]
        for k, part in enumerate(np.split(design.features, np.cumsum(groups)[:-1], axis=1) if groups else []):
            scale = strength * (1.0 if k == 1 else SIDE_SHARE)
            blocks.append(np.full(part.shape[1] * c, _energy(part) / scale**2))
        return mean, np.concatenate([*blocks, np.full(sizes[3], 1 / BIAS_SCALE**2)])

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        beta, level = self.tensor("beta", inputs), self.tensor("level", inputs)
        experts, columns, groups = self.design(inputs, present, beta, level)
        scores = (self.tensor("weight", inputs)[:, None] * experts).sum(axis=1)
        if columns.shape[1]:
            scores = scores + (self.tensor("classwise", inputs) * columns).sum(axis=1)
        if groups:
            scores = scores + concatenate(groups, axis=1) @ self.tensor("matrix", inputs)
        return scores + self.tensor("bias", inputs) if "bias" in self.blocks else scores

    @classmethod
    def from_state(cls, classes, modalities, state):  # type: ignore[no-untyped-def]
        rule = super().from_state(classes, modalities, state)
        c = len(classes)
        rule.parameters |= {x: rule.parameters[x].reshape(-1, c) for x in ("classwise", "matrix")}
        return rule

    def explain(self) -> str:
        weight = self.parameters["weight"]
        known = zip(self.modalities, weight, self.parameters["beta"], strict=False)
        each = [f"{m} {PLAIN.number(w)} at temperature {temperature(b)}" for m, w, b in known]
        text = f"Weights of the calibrated log-probabilities: {', '.join(each)}"
        if "mixture" in self.blocks:
            text += f", linear pool {PLAIN.number(weight[-1])}"
        if "bias" in self.blocks:
            bias = self.parameters["bias"]
            order = np.argsort(bias)
            text += (
                f". Bias from {SIGNED.number(bias[order[0]])} nats ({self.classes[order[0]]}) to "
                f"{SIGNED.number(bias[order[-1]])} ({self.classes[order[-1]]})"
            )
        if "classwise" in self.blocks:
            d = self.parameters["classwise"]
            row, column = np.unravel_index(np.abs(d).argmax(), d.shape)
            text += (
                f". Class-wise weights differ from these by up to {SIGNED.number(float(d[row, column]))} "
                f"({self.modalities[row]} on {self.classes[column]})"
            )
        return text + "."


def _filled(start: Rule, sizes: list[int]) -> np.ndarray:
    """The flat parameters of a rule, with zeros for what a rule with more blocks has behind them."""
    blocks = [start.parameters[x].ravel() for x in _BLOCKS]
    return np.concatenate([np.pad(x, (0, size - len(x))) for x, size in zip(blocks, sizes, strict=True)])


def _energy(block: np.ndarray) -> float:
    """Mean over rows (and classes) of the squared length of the block's input to one logit."""
    return max(float(np.vdot(block, block)) * block.shape[1] / block.size, FAINT) if block.size else 1.0


_BLOCKS = ("weight", "classwise", "matrix", "bias")
