"""Learnable weight scaling: a scale per class and modality on the model's own decision weights.

    o_c = sum_m f_mc W_m[c] . z_m + b_c,    f = argmin NLL + sum_mc (f_mc - 1)^2 / (2 s^2)

Reference: Kang et al., "Decoupling representation and classifier for long-tailed recognition", ICLR 2020,
arXiv 1910.09217.

Deviations: the paper's scale per class becomes one per class and modality; it is fitted on calibration rows, not on
re-sampled training rows, and shrunk to 1, the head as it is. The problem is convex and is solved to its optimum.
"""

from typing import Any

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.heads import HeadRule, head_bias
from mmbal.maths.loglinear import Design, maximum_a_posteriori
from mmbal.predictions.format import Predictions
from mmbal.registry import rules
from mmbal.text import PLAIN


@rules.register(family="head", year=2020, paper="1910.09217", fitted=True, needs={"features", "weight"})
class Lws(HeadRule):
    """The model's own head, with a scale for each class and modality."""

    class Config(Config):
        scale: float = Field(0.5, gt=0, description="s: prior standard deviation of a scale about 1")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        cls.need(predictions, "features", "weight")
        names, bias = predictions.modalities, head_bias(predictions)
        parts = np.stack([predictions.features[m] @ predictions.weight[m].T for m in names], axis=1)
        n, m, c = parts.shape
        design = Design(np.zeros((n, 0, c)), parts, np.zeros((n, 0)), bias=False)
        target, precision = np.eye(c)[predictions.labels], np.full(m * c, 1 / config.scale**2)
        factor = design.split(maximum_a_posteriori(design, target, np.ones(m * c), precision, offset=bias))[1]
        weights = {f"weight_{name}": factor[k][:, None] * predictions.weight[name] for k, name in enumerate(names)}
        return {"factor": factor, "bias": bias, **weights}

    def explain(self) -> str:
        factor = self.parameters["factor"]
        each = (
            f"{m} {PLAIN.number(f.min())} to {PLAIN.number(f.max())}"
            for m, f in zip(self.modalities, factor, strict=True)
        )
        return f"Scales of the head's weights over the classes: {', '.join(each)}."
