"""Predictions and training configurations that several test modules start from."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.predictions.format import Predictions
from mmbal.registry import methods


def gaussian(
    n: int = 120, c: int = 4, modalities: int = 3, seed: int = 0, missing: bool = False, scale: float = 1.0
) -> Predictions:
    """Noisy logits for the true class, each modality with its own reliability and over-confidence."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(c, size=n)
    arrays = {"labels": labels}
    for k in range(modalities):
        arrays[f"logits_m{k}"] = scale * (1 + k) * (2 * np.eye(c)[labels] / (1 + k) + rng.normal(size=(n, c)))
        arrays[f"features_m{k}"] = rng.normal(size=(n, 5)) + labels[:, None]
        arrays[f"weight_m{k}"] = rng.normal(size=(c, 5))
        if missing:
            arrays[f"present_m{k}"] = rng.random(n) < 0.7
    arrays["bias"] = rng.normal(size=c)
    return Predictions.from_arrays(arrays)


def of_logits(labels: np.ndarray, *logits: np.ndarray, **more: Any) -> Predictions:
    """Predictions with the logits of modalities m0, m1, ...; the logits are their features, the identity their head."""
    arrays: dict[str, Any] = {"labels": labels}
    for k, value in enumerate(logits):
        arrays |= {f"logits_m{k}": value, f"features_m{k}": value, f"weight_m{k}": np.eye(value.shape[1])}
    return Predictions.from_arrays(arrays | more)


def modular(n: int = 200, seed: int = 0, c: int = 5, right: float = 0.8, **more: Any) -> Predictions:
    """The class is (i + j) mod 5; modality a shows i, b shows j. No part tells the class, the model is right in 80 %."""
    rng = np.random.default_rng(seed)
    i, j = rng.integers(c, size=n), rng.integers(c, size=n)
    labels = (i + j) % c
    said = np.where(rng.random(n) < right, labels, rng.integers(c, size=n))
    arrays = {
        "labels": labels,
        "logits_a": 2 * np.eye(c)[i] + rng.normal(size=(n, c)),
        "logits_b": 2 * np.eye(c)[j] + rng.normal(size=(n, c)),
        "fused": 4 * np.eye(c)[said] + rng.normal(size=(n, c)),
    }
    return Predictions.from_arrays(arrays | more)


def config_for(name: str, store: Store, **changes: Any) -> TrainConfig:
    """A short run of a method under the fusion that it needs."""
    values: dict[str, Any] = {
        "data": str(store.path),
        "method": Choice(name=name),
        "fusion": Choice(name=methods.entry(name).about.fusion or "concat"),
        "epochs": 2,
        "batch_size": 16,
        "optimiser": OptimiserConfig(lr=0.05),
        "device": "cpu",
    }
    return TrainConfig(**(values | changes))
