"""Predictions made on the spot, and figures over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmbal.diagnosis.figures import Figures
from mmbal.maths.bootstrap import Bootstrap
from mmbal.predictions.format import Predictions


@pytest.fixture
def figures_of() -> Callable[[Predictions], Figures]:
    def make(predictions: Predictions, replicates: int = 100) -> Figures:
        boot = Bootstrap.of(len(predictions), predictions.group, replicates)
        return Figures(boot, predictions.labels, predictions.classes)

    return make


@pytest.fixture
def noisy() -> Callable[..., Predictions]:
    """``noisy(300, 4, {"a": 2.0, "b": 1.0})``: logits of N(0, 1) plus a strength on the true class."""

    def make(n: int, classes: int, strength: dict[str, float], seed: int = 0, **arrays: Any) -> Predictions:
        rng = np.random.default_rng(seed)
        labels = rng.integers(classes, size=n)
        logits = {
            f"logits_{m}": rng.normal(size=(n, classes)) + s * np.eye(classes)[labels] for m, s in strength.items()
        }
        return Predictions.from_arrays(
            {"labels": labels, "classes": np.arange(classes).astype(str), **logits, **arrays}
        )

    return make
