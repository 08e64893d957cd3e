"""The family of log-linear decision layers, from one weight per modality to a matrix, and how they are shrunk.

Let ``v_m = log softmax(beta_m log p_m)`` be the votes of modality m, calibrated alone (``beta_m`` its inverse
temperature), ``v_0 = log mean_m exp v_m`` their linear pool, and ``u_m`` the votes less their mean over the classes:

    o = sum_m w_m v_m + w_0 v_0 + b + sum_m d_m * u_m + sum_m (F_m u_m + G_m (p_m - 1 / C)),      p = softmax(o)

Every rule of the family is a MAP estimate in some of these terms, with Gaussian priors that shrink towards the plain
consensus ``w_m = 1 / M``, all else 0. A prior's scale is stated in nats: ``strength`` is the standard deviation a priori
of what the block adds to a logit, the size of the votes divided out, so that it means the same for 2 classes and for
100, and for quiet and loud heads. The shrinkage of class-wise terms towards the shared weights is that of a
hierarchical model (partial pooling; Gelman and Hill 2007, ch. 12). The linear pool v_0 is there for modalities that
are confidently wrong now and then: a log-linear pool lets them veto, the linear pool does not.
As for a temperature, one pseudo-row's worth of uniform labels joins the data, so that separable data have a solution.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmbal.config import Config
from mmbal.data.predictions import Predictions
from mmbal.decision.base import Rule
from mmbal.decision.mean import mean_log_probabilities
from mmbal.decision.temperature import inverse_temperatures, temperature
from mmbal.maths.loglinear import Design, maximum_a_posteriori

WEIGHT_SCALE = 0.5  # prior standard deviation of a modality's weight, whose mean is 1 / M
MIXTURE_SCALE = 1.0  # of the linear pool's weight, whose mean is 0
BIAS_SCALE = 0.5  # of a class's bias, in nats
FAINT = 1e-6  # mean square of votes below which a block has nothing to say, and no scale of its own


class LogLinear(Rule):
    """A decision layer of the family; a subclass names the ``blocks`` it has and may let the user set ``strength``."""

    blocks: ClassVar[frozenset[str]] = frozenset()  # of "mixture", "bias", "classwise", "matrix"

    class Config(Config):
        strength: float = Field(0.6, gt=0, le=100, description="prior standard deviation of a block's effect, in nats")

    @classmethod
    def estimate(
        cls, predictions: Predictions, config: Any, beta: np.ndarray | None = None, start: Rule | None = None
    ) -> dict[str, np.ndarray]:
        """MAP parameters. ``beta``, where it is known, and ``start``, a fit of this rule on like data, save time."""
        beta = inverse_temperatures(predictions) if beta is None else beta
        logits = torch.from_numpy(np.stack([predictions.logits[m] for m in predictions.modalities], axis=1))
        n, m, c = logits.shape
        present = torch.from_numpy(predictions.present_mask().astype(np.float64))
        experts, columns, features = (x.numpy() for x in cls.design(logits, present, torch.from_numpy(beta)))
        design = Design(experts, columns, features, "bias" in cls.blocks)
        mean, precision = cls.prior(design, m, config.strength)
        target = np.full((n, c), 1 / (n * c))
        target[np.arange(n), predictions.labels] += 1
        warm = None if start is None else np.concatenate([start.parameters[x].ravel() for x in _BLOCKS])
        found = design.split(maximum_a_posteriori(design, target, mean, precision, warm))
        return {"beta": beta, **dict(zip(_BLOCKS, found, strict=True))}

    @classmethod
    def design(cls, logits: Tensor, present: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The experts ``(N, K, C)``, columns ``(N, M or 0, C)`` and features ``(N, D)`` that the scores are linear in."""
        v = torch.log_softmax(beta[:, None] * torch.log_softmax(logits, dim=-1), dim=-1)
        masked = v * present[..., None]
        experts = masked
        if "mixture" in cls.blocks:
            experts = torch.cat([masked, torch.log_softmax(mean_log_probabilities(v, present), dim=-1)[:, None]], dim=1)
        centred = masked - masked.mean(dim=-1, keepdim=True)
        columns = centred if "classwise" in cls.blocks else centred[:, :0]
        features = centred.flatten(1)[:, :0]
        if "matrix" in cls.blocks:
            probabilities = (v.exp() - 1 / v.shape[-1]) * present[..., None]
            features = torch.cat([centred.flatten(1), probabilities.flatten(1)], dim=1)
        return experts, columns, features

    @classmethod
    def prior(cls, design: Design, modalities: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and precision of every parameter."""
        k, *_ = sizes = design.sizes
        mean = np.zeros(sum(sizes))
        mean[:modalities] = 1 / modalities
        scale = np.full(k, WEIGHT_SCALE)
        scale[modalities:] = MIXTURE_SCALE
        c = design.experts.shape[2]
        loudness = max((design.columns**2).sum(axis=1).mean(), FAINT) if sizes[1] else 1.0
        halves = np.split(design.features, 2, axis=1)
        energy = [max((half**2).sum(axis=1).mean(), FAINT) if sizes[2] else 1.0 for half in halves]
        return mean, np.concatenate(
            [
                1 / scale**2,
                np.full(sizes[1], loudness / strength**2),
                *(np.full(half.shape[1] * c, e / strength**2) for half, e in zip(halves, energy, strict=True)),
                np.full(sizes[3], 1 / BIAS_SCALE**2),
            ]
        )

    def combine(self, inputs: Tensor, present: Tensor) -> Tensor:
        experts, columns, features = self.design(inputs, present, self.tensor("beta", inputs))
        scores = (self.tensor("weight", inputs)[:, None] * experts).sum(dim=1)
        if columns.shape[1]:
            scores = scores + (self.tensor("classwise", inputs) * columns).sum(dim=1)
        if features.shape[1]:
            scores = scores + features @ self.tensor("matrix", inputs)
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
        each = [f"{m} {w:.2f} at temperature {temperature(b)}" for m, w, b in known]
        text = f"Weights of the calibrated votes: {', '.join(each)}"
        if "mixture" in self.blocks:
            text += f", linear pool {weight[-1]:.2f}"
        if "bias" in self.blocks:
            order = np.argsort(self.parameters["bias"])
            text += (
                f". Bias from {self.parameters['bias'][order[0]]:+.2f} nats ({self.classes[order[0]]}) to "
                f"{self.parameters['bias'][order[-1]]:+.2f} ({self.classes[order[-1]]})"
            )
        if "classwise" in self.blocks:
            d = self.parameters["classwise"]
            row, column = np.unravel_index(np.abs(d).argmax(), d.shape)
            text += (
                f". Class-wise weights differ from these by up to {d[row, column]:+.2f} "
                f"({self.modalities[row]} on {self.classes[column]})"
            )
        return text + "."


_BLOCKS = ("weight", "classwise", "matrix", "bias")
