"""The model's decision with any coalition of modalities, taken from what a predictions file holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mmbal.data.predictions import Array, Predictions, log_softmax, subsets_of
from mmbal.errors import UsageError
from mmbal.maths.shapley import shapley_values

MAX_MODALITIES = 10  # 2^10 coalitions of (N, C) logits; beyond, exact values would need a sample of orders
ADDITIVE_TOLERANCE = 1e-3


def correct(logits: Array, labels: Array) -> Array:
    """1 where the decision is right, else 0 ``(N,)``; a row of equal logits decides nothing and is a guess, 1 / C."""
    right = (logits.argmax(axis=1) == labels).astype(np.float64)
    right[np.ptp(logits, axis=1) == 0] = 1 / logits.shape[1]
    return right


def log_likelihood(logits: Array, labels: Array) -> Array:
    """Log-probability of the true class ``(N,)``, in nats."""
    value: Array = log_softmax(logits)[np.arange(len(labels)), labels]
    return value


def centred(logits: Array) -> Array:
    """Logits less their mean over the classes: the part that softmax sees."""
    value: Array = logits - logits.mean(axis=-1, keepdims=True)
    return value


@dataclass(frozen=True)
class Decision:
    """The model's own decision ``fused (N, C)`` and, where known, each modality's additive part of it.

    ``contribution`` is empty where the parts are unknown. ``given`` holds the coalitions that the file states itself,
    for fusions that are not additive.
    """

    modalities: tuple[str, ...]
    fused: Array
    contribution: dict[str, Array]
    given: dict[tuple[str, ...], Array]
    source: str
    parts: str | None

    @cached_property
    def coalitions(self) -> dict[tuple[str, ...], Array]:
        """Fused logits ``(N, C)`` of every coalition; no modality is a row of zeros (a uniform guess) unless stated.

        Empty where neither contributions nor all coalitions are known.
        """
        everyone = subsets_of(self.modalities) if len(self.modalities) <= MAX_MODALITIES else []
        nothing = np.zeros_like(self.fused)
        if self.given:
            return {names: self.given.get(names, nothing) for names in everyone}
        if not self.contribution:
            return {}
        return {names: sum((self.contribution[m] for m in names), nothing) for names in everyone}

    def without(self, modality: str) -> Array | None:
        """Fused logits when one modality is taken out; None where that is not known."""
        rest = tuple(m for m in self.modalities if m != modality)
        if self.given:
            return self.given.get(rest, np.zeros_like(self.fused))
        if self.contribution:
            return sum((self.contribution[m] for m in rest), np.zeros_like(self.fused))
        return None


def decision_of(predictions: Predictions) -> Decision:
    """The decision that counts as the model's own, with its parts, from the most direct arrays there are.

    Contributions; else the coalitions' logits, whose Shapley values are the parts; else the modalities' logits where
    they sum to ``fused`` or where the file has no ``fused``. Raises UsageError where there is no sample.
    """
    if not len(predictions):
        raise UsageError("There are no samples to diagnose.")
    names = predictions.modalities
    logits, fused = predictions.logits, predictions.fused
    total = sum(logits.values(), np.zeros_like(logits[names[0]]))
    if all(m in predictions.contribution for m in names):
        parts = predictions.contribution
        whole = sum(parts.values(), np.zeros_like(total)) if fused is None else fused
        source = "the sum of the contributions" if fused is None else "fused"
        return Decision(names, whole, parts, {}, source, "contribution_<modality>")
    coalitions = {s for s in subsets_of(names) if s} if len(names) <= MAX_MODALITIES else {None}
    if coalitions <= {*predictions.subsets, names} and (fused is not None or names in predictions.subsets):
        whole = predictions.subsets[names] if fused is None else fused
        given = {(): np.zeros_like(whole), **predictions.subsets, names: whole}
        return Decision(names, whole, shapley_values(given, names), given, "fused", "Shapley values of subset_<...>")
    if fused is None:
        return Decision(names, total, dict(logits), {}, "the plain sum of the logits (the file has no 'fused')", "logits_<modality>")
    gap = np.abs(centred(total) - centred(fused)).max() / max(1.0, np.abs(centred(fused)).max())
    if gap < ADDITIVE_TOLERANCE:
        return Decision(names, fused, dict(logits), {}, "fused", "logits_<modality>, which sum to 'fused'")
    return Decision(names, fused, {}, {}, "fused", None)
