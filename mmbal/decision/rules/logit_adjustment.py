"""Logit adjustment: takes the class frequencies out of every modality before the sum, to serve rare classes as well.

    log p(c) = sum_m (log p_m(c) - tau log pi_c) + const

Reference: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv 2007.07314, equation 9 (post hoc).
With tau = 1 it is optimal for balanced error where each modality is calibrated.

Deviations: the paper has one model; here it is applied to each modality. ``pi`` are the frequencies in the calibration
rows, with one pseudo-row spread over the classes, so that a class without rows there has a finite logarithm.
"""

from typing import Any

import numpy as np
from pydantic import Field

from mmbal.config import Config
from mmbal.decision.base import Rule, unimodal
from mmbal.maths.arrays import AnyArray
from mmbal.predictions.format import Predictions
from mmbal.registry import rules


def log_frequencies(labels: np.ndarray, classes: int) -> np.ndarray:
    """``log pi (C,)`` of labels ``(N,)``, with one pseudo-row spread over the classes."""
    counts = np.bincount(labels, minlength=classes) + 1 / classes
    return np.log(counts / counts.sum())


@rules.register(family="fixed", year=2021, paper="2007.07314", fitted=True)
class LogitAdjustment(Rule):
    """The plain sum as it would be if all classes were equally frequent."""

    class Config(Config):
        tau: float = Field(1.0, ge=0, description="tau: how much of the log frequency is taken out")

    @classmethod
    def estimate(cls, predictions: Predictions, config: Any) -> dict[str, np.ndarray]:
        return {"shift": config.tau * log_frequencies(predictions.labels, len(predictions.classes))}

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        shift = self.tensor("shift", inputs)
        return unimodal(inputs, present).sum(axis=1) - present.sum(axis=1, keepdims=True) * shift

    def explain(self) -> str:
        return (
            "The plain sum; the log class frequencies of the calibration split are subtracted once for each modality."
        )
