"""Whether weights by sample do anything: the decision with these weights, against the same weights shuffled over samples.

A gate multiplies the logits of each modality by a weight that it chooses for the sample. Shuffled, the weights have the
same distribution but know nothing of the sample. What the decision then loses is what the gate adds. Where the decision is
no sum of weighted logits, the model itself states what it decides with the weights of other samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.decision.fused import TOLERANCE
from mmbal.diagnosis.claims import learned, negated, shown
from mmbal.diagnosis.coalitions import centred, correct, log_likelihood
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import GAIN, Estimate
from mmbal.maths.folds import exchanged
from mmbal.predictions.format import Array, Predictions
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, NATS, NATS_DIFFERENCE, NATS_LOST, PP, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

SHUFFLES = 20  # permutations averaged over
MARGINS = (0.02, 0.02)  # of accuracy and of nats: a gate whose whole intervals lie below them adds nothing
NEEDS = (
    "weights_<modality> (N,), by which the logits of each modality are multiplied before they are summed; or exchanged "
    "(N, C), the decision with the weights of other samples"
)


class Gate(Frozen):
    """What the weights by sample add to the decision."""

    accuracy: Estimate = Field(description="accuracy less that with the weights shuffled over the samples")
    log_likelihood: Estimate = Field(description="the same in nats a sample")
    weights: Estimates = Field(description="mean weight of each modality over the samples that have it")
    spread: dict[str, float] = Field(description="standard deviation of the weight over these samples")


def gated_parts(predictions: Predictions, fused: Array, contribution: Mapping[str, Array]) -> Array | None:
    """What the weights multiply, ``(N, M, C)``: the logits, or else the contributions divided by the weights.

    None where neither, with its weights, sums to ``fused (N, C)`` up to a constant by row.
    """
    names, weights = predictions.modalities, weights_of(predictions)
    parts = [np.stack([predictions.logits[m] for m in names], axis=1)]
    if all(m in contribution for m in names) and (weights != 0).all():
        parts.append(np.stack([contribution[m] for m in names], axis=1) / weights[..., None])
    size = max(1.0, float(np.abs(centred(fused)).max()))
    for part in parts:
        if np.abs(centred(weighted(part, weights)) - centred(fused)).max() < TOLERANCE * size:
            return part
    return None


def weights_of(predictions: Predictions) -> Array:
    """The weights ``(N, M)``, 0 where a modality is missing."""
    weights = np.stack([predictions.weights[m] for m in predictions.modalities], axis=1)
    value: Array = np.where(predictions.present_mask(), weights, 0.0)
    return value


def weighted(parts: Array, weights: Array) -> Array:
    """The sum ``(N, C)`` of parts ``(N, M, C)`` with weights ``(N, M)``."""
    value: Array = np.einsum("nm,nmc->nc", weights, parts)
    return value


@sections.register()
class GateSection(Section):
    """What weights by sample add, where the decision has such weights."""

    order = 45
    title = "What the gate adds"
    full = True
    fields = {"gate": (Gate | None, Field(None, description="of a decision with weights by sample"))}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        p, figures, labels, fused = e.predictions, e.figures, e.predictions.labels, e.decision.fused
        present = p.present_mask()
        if e.single:
            e.lacks("gate", e.single, NEEDS)
            return {}
        if p.exchanged is not None:
            without = [p.exchanged]
        elif not all(m in p.weights for m in e.names):
            e.lacks("gate", "the decision has no weights by sample, or they are not known", NEEDS)
            return {}
        else:
            parts = gated_parts(p, fused, e.decision.contribution)
            if parts is None:
                e.lacks("gate", "the logits with the weights by sample do not sum to the fused decision", NEEDS)
                return {}
            weights = weights_of(p)
            rng = np.random.default_rng(e.fold_seed)  # the verdict rests on these figures, and no seed may change it
            without = [weighted(parts, weights[exchanged(present, rng)]) for _ in range(SHUFFLES)]
        accuracy = correct(fused, labels) - np.mean([correct(x, labels) for x in without], axis=0)
        nats = log_likelihood(fused, labels)
        nats = nats - np.mean([log_likelihood(x, labels) for x in without], axis=0)
        there = {m: present[:, k] for k, m in enumerate(e.names) if m in p.weights}
        rows = {m: np.flatnonzero(here) for m, here in there.items() if here.any()}
        found = Gate(
            accuracy=figures.mean("gate.accuracy", accuracy, bounds=GAIN),
            log_likelihood=figures.mean("gate.log_likelihood", nats),
            weights={m: figures.mean(f"gate.weights.{m}", p.weights[m], own) for m, own in rows.items()},
            spread={m: float(p.weights[m][own].std()) for m, own in rows.items()},
        )
        return {"gate": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        g = d.gate
        if g is None:
            return []
        gain = [
            Column("the gate adds", ["accuracy (pp)", "log-likelihood (nats)"]),
            Column("", [DIFFERENCE.bare().text(g.accuracy), NATS_DIFFERENCE.text(g.log_likelihood)]),
        ]
        weights = [
            Column("weight of", list(g.weights)),
            Column("mean", list(g.weights.values()), NATS),
            Column("spread over the samples", list(g.spread.values()), NATS),
        ]
        found = [Table.of(gain, caption="To the same weights, shuffled over the samples.")]
        return [*found, Table.of(weights)] if g.weights else found

    def sentences(self, d: Diagnosis) -> list[str]:
        g = d.gate
        if g is None or not learned(d):
            return []
        shuffle = "with its weights shuffled over the samples"
        changes = f"the accuracy changes by {DIFFERENCE.text(negated(g.accuracy))}"
        if shown(g.accuracy):
            return [f"The gate matters: {shuffle}, the model loses {PP.text(g.accuracy)}."]
        if shown(negated(g.accuracy)):
            return [f"The gate does harm: {shuffle}, the model gains {PP.text(negated(g.accuracy))}."]
        if shown(g.log_likelihood, NATS_LOST):
            return [
                f"The gate matters for the confidences: {shuffle}, the model loses {NATS_LOST.text(g.log_likelihood)}."
            ]
        highs = (g.accuracy.high, g.log_likelihood.high)
        if all(high is not None and high < margin for high, margin in zip(highs, MARGINS, strict=True)):
            return [f"The gate adds nothing: {shuffle}, {changes}."]
        return [f"The gate is not shown to add anything: {shuffle}, {changes}."]

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        return {"gate.accuracy": ("the gate adds", DIFFERENCE)}
