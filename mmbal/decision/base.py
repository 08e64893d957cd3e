"""What a decision rule is: fitted on held-out decisions of single modalities, it gives the fused log-probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from mmbal.config import Config
from mmbal.data.predictions import Predictions


class Rule(ABC):
    """A fitted decision rule. One file a rule, registered under the file's name."""

    version: ClassVar[int] = 1

    class Config(Config):
        """Hyper-parameters; none by default."""

    @classmethod
    @abstractmethod
    def fit(cls, predictions: Predictions, config: Config | None = None) -> Rule:
        """Fit on every row of ``predictions`` (select the calibration split first)."""

    @abstractmethod
    def apply(self, predictions: Predictions | Mapping[str, Any], present: Mapping[str, Any] | None = None) -> Any:
        """Fused log-probabilities ``(N, C)``.

        Takes Predictions (NumPy out) or a mapping modality -> logits ``(N, C)`` of arrays or tensors; tensors give
        a tensor that can be differentiated.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """JSON-safe parameters; ``from_state`` gives the rule back."""
