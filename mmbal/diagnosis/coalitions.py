"""The model's decision with any coalition of modalities, taken from what a predictions file holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmbal.decision.fused import centred as centred
from mmbal.decision.fused import plain_sum, stated_coalitions, stated_decision, summands
from mmbal.errors import UsageError
from mmbal.maths.arrays import log_softmax
from mmbal.maths.scoring import correct as correct
from mmbal.maths.scoring import decided_shares
from mmbal.maths.shapley import shapley_values
from mmbal.predictions.format import Array, Predictions

ADDITIVE = (
    "contribution_<modality> (or subset_<a>+<b> for every coalition)"  # the arrays that give the parts of a decision
)
MAX_MODALITIES = 8  # 2^8 coalitions; exact values of more would cost too much


def log_likelihood(logits: Array, labels: Array) -> Array:
    """Log-probability of the true class ``(N,)``, in nats."""
    value: Array = log_softmax(logits, axis=-1)[np.arange(len(labels)), labels]
    return value


@dataclass(frozen=True)
class Decision:
    """The model's own decision ``fused (N, C)`` and, where known, each modality's additive part of it.

    ``contribution`` is empty where the parts are unknown. ``given`` holds the coalitions that the file states itself:
    a fusion that need not be additive. It is empty or holds all of them, or some where Shapley values were estimated.
    """

    modalities: tuple[str, ...]
    fused: Array
    contribution: dict[str, Array]
    given: dict[tuple[str, ...], Array]
    source: str
    parts: str | None

    def coalition(self, names: tuple[str, ...]) -> Array | None:
        """Fused logits ``(N, C)`` with only these modalities; no modality is a row of zeros, a uniform guess, unless
        the file states it. None where neither contributions nor coalitions are known.
        """
        if self.given:
            return self.given.get(names)
        if self.contribution:
            return sum((self.contribution[m] for m in names), np.zeros_like(self.fused))
        return None

    def without(self, modality: str) -> Array | None:
        """Fused logits when one modality is taken out; None where that is not known."""
        return self.coalition(tuple(m for m in self.modalities if m != modality))


def decision_of(predictions: Predictions) -> Decision:
    """The decision that counts as the model's own, with its parts, from the most direct arrays there are.

    Coalitions and contributions that the file states; else the Shapley values of the coalitions as parts; else the
    modalities' logits, where they sum to ``fused`` or where the file has no ``fused``. Raises UsageError where there
    is no sample.
    """
    if not len(predictions):
        raise UsageError("There are no samples to diagnose.")
    names, stated = predictions.modalities, stated_decision(predictions)
    if predictions.shapley and stated is not None:
        own = {(): np.zeros_like(stated), **predictions.subsets, names: stated}
        estimated = predictions.contribution if all(m in predictions.contribution for m in names) else {}
        return Decision(names, stated, estimated, own, "fused", "estimated Shapley values of subset_<modalities>")
    parts = predictions.contribution if all(m in predictions.contribution for m in names) else {}
    given = stated_coalitions(predictions) if len(names) <= MAX_MODALITIES else None
    if given is not None:
        parts_from = "contribution_<modality>" if parts else "Shapley values of subset_<modalities>"
        return Decision(names, given[names], parts or shapley_values(given, names), given, "fused", parts_from)
    if stated is None:
        # a sum that is made here adds only what is there; a model's own parts stay as it added them
        masks = zip(names, predictions.present_mask().T, strict=True)
        there = {m: predictions.logits[m] * mask[:, None] for m, mask in masks}
        source = "the plain sum of the logits, since the file has no 'fused'"
        return Decision(names, plain_sum(predictions), there, {}, source, "logits_<modality>")
    if parts:
        source = "the sum of the contributions" if predictions.fused is None else "fused"
        return Decision(names, stated, parts, {}, source, "contribution_<modality>")
    found = summands(predictions, stated)
    if found is not None:
        return Decision(names, stated, found, {}, "fused", "logits_<modality>, whose sum is 'fused'")
    return Decision(names, stated, {}, {}, "fused", None)


def own_decisions(predictions: Predictions) -> tuple[Array, Array]:
    """Class decided by each modality alone ``(N, M)`` and whether it decides ``(N, M)``.

    It does not where it is missing, or where several classes share its highest score.
    """
    shares = [decided_shares(predictions.logits[m]) for m in predictions.modalities]
    decided = np.stack([share.argmax(axis=1) for share in shares], axis=1)
    clear = np.stack([share.max(axis=1) == 1 for share in shares], axis=1)
    return decided, clear & predictions.present_mask()
