"""Classifier re-training: a new linear head on the frozen features, with the same weight for every class.

    (W, b) = argmin  sum_n (N / (C' N_{y_n})) NLL(sum_m z_m W_m^T + b, y_n)  +  |W|^2 / (2 v)  +  |b|^2 / 2

N_c rows of class c, C' classes that have rows. Reference: Kang et al., "Decoupling representation and classifier for
long-tailed recognition", ICLR 2020, arXiv 1910.09217.

Deviations: class-balanced weights in place of class-balanced sampling (their expectation), calibration rows in place of
training rows, features standardised per modality, and the problem solved to its optimum, which takes a prior: ``v`` is
such that a modality's part of a logit has standard deviation ``strength`` a priori.
"""

from typing import Any

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.heads import HeadRule
from mmbal.maths.loglinear import Design, maximum_a_posteriori
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


@rules.register(family="head", year=2020, paper="1910.09217", fitted=True, needs={"features"})
class Crt(HeadRule):
    """A new head on the features, balanced by class."""

    class Config(Config):
        strength: float = Field(1.0, gt=0, description="prior standard deviation of a modality's part of a logit, nats")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        cls.need(predictions, "features")
        names, mask = predictions.modalities, predictions.present_mask()
        n, c = len(predictions), len(predictions.classes)
        standard, centre, scale = {}, {}, {}
        for k, m in enumerate(names):
            z = predictions.features[m]
            seen = z[mask[:, k]] if mask[:, k].any() else z
            spread = seen.std(axis=0)
            centre[m], scale[m] = seen.mean(axis=0), np.where(spread > 1e-8, spread, 1.0) * np.sqrt(z.shape[1])
            # the features are centred on 0, so a missing modality (zeros) changes nothing
            standard[m] = (z - centre[m]) / scale[m] * mask[:, k, None]
        none = np.zeros((n, 0, c))
        design = Design(none, none, np.concatenate([standard[m] for m in names], axis=1), bias=True)
        counts = np.bincount(predictions.labels, minlength=c)
        weight = n / (np.count_nonzero(counts) * counts[predictions.labels])
        precision = np.full(sum(design.sizes), 1 / config.strength**2)
        precision[-c:] = 1.0
        target, mean = np.eye(c)[predictions.labels] * weight[:, None], np.zeros(len(precision))
        _, _, matrix, bias = design.split(maximum_a_posteriori(design, target, mean, precision))
        parts = np.split(matrix, np.cumsum([standard[m].shape[1] for m in names])[:-1])
        weights = {m: (part / scale[m][:, None]).T for m, part in zip(names, parts, strict=True)}
        shift = {f"shift_{m}": -weights[m] @ centre[m] for m in names}
        return {"bias": bias, **{f"weight_{m}": w for m, w in weights.items()}, **shift}

    def combine(self, inputs: Any, present: Any) -> Any:
        shift = sum(present[:, k, None] * self.tensor(f"shift_{m}", inputs[k]) for k, m in enumerate(self.modalities))
        return super().combine(inputs, present) + shift

    def explain(self) -> str:
        return "A new linear head on the features, fitted with every class weighing the same."
