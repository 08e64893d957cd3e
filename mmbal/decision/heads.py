"""Rules that re-weigh or re-train the decision weights themselves: they need the features, and the head where it is kept.

A mapping given to ``apply`` then holds features ``(N, D_m)``, not logits.
"""

from __future__ import annotations

import numpy as np

from mmbal.decision.base import Rule
from mmbal.errors import UsageError
from mmbal.maths.arrays import AnyArray, stack
from mmbal.predictions.format import Predictions


class HeadRule(Rule):
    """``o = sum_m z_m V_m^T + b`` with new weights ``V_m (C, D_m)``, called ``weight_<m>``, and bias."""

    source = "features"

    @classmethod
    def need(cls, predictions: Predictions, *keys: str) -> None:
        """Raise UsageError where the predictions do not have the arrays (``features``, ``weight``) of the rule."""
        for key in keys:
            lacking = [m for m in predictions.modalities if m not in getattr(predictions, key)]
            if lacking:
                raise UsageError(
                    f"The rule '{cls.__module__.rsplit('.', 1)[-1]}' needs {key}_<modality>, which '{lacking[0]}' has not.",
                    "Runs of mmbal keep features and weights of linear fusions; other rules need logits alone.",
                )

    def width(self, modality: str) -> int:
        return self.parameters[f"weight_{modality}"].shape[1]

    def combine(self, inputs: AnyArray, present: AnyArray) -> AnyArray:
        parts = [z @ self.tensor(f"weight_{m}", z).T for m, z in zip(self.modalities, inputs, strict=True)]
        return stack(parts).sum(axis=0) + self.tensor("bias", parts[0])


def head_bias(predictions: Predictions) -> np.ndarray:
    """The head's bias ``(C,)``, zero where the predictions keep none."""
    return np.zeros(len(predictions.classes)) if predictions.bias is None else predictions.bias
