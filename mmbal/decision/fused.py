"""The model's own decision, ``fused``: the reference of every rule, one more input of some, and what a rule replaces.

A model with a summed or concatenated linear head decides by the sum of its modalities' logits: its decision is a
function of these parts, and a rule that sees the parts sees everything. A model that is not additive (FiLM, gates,
attention) uses more than its parts show. Its fused logits are then one more input of a rule, under the name ``fused``
and after the modalities. :func:`inputs_of` is the one place that puts them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmbal.maths.arrays import log_softmax
from mmbal.maths.shapley import shapley_values
from mmbal.predictions.format import Array, Predictions, subsets_of

if TYPE_CHECKING:
    from mmbal.decision.base import Rule

FUSED = "fused"
Takes = Literal["parts", "fused", "parts and fused"]
LARGE = 250_000  # log-probabilities (rows x classes) of a modality from which single precision serves
TOLERANCE = 1e-3  # relative; beyond it the fused logits are not the sum of the modalities' logits


def centred(logits: Array) -> Array:
    """Logits less their mean over the classes: the part that softmax sees."""
    value: Array = logits - logits.mean(axis=-1, keepdims=True)
    return value


def stated_decision(predictions: Predictions) -> Array | None:
    """The fused logits ``(N, C)`` that the predictions state, directly or by their parts; None where they do not."""
    p = predictions
    if p.fused is not None:
        return p.fused
    if p.modalities in p.subsets:
        return p.subsets[p.modalities]
    if all(m in p.contribution for m in p.modalities):
        return np.sum([p.contribution[m] for m in p.modalities], axis=0)
    return None


def plain_sum(predictions: Predictions) -> Array:
    """Sum of the logits of the modalities that each row has: ``(N, C)``."""
    logits = np.stack([predictions.logits[m] for m in predictions.modalities], axis=1)
    total: Array = (logits * predictions.present_mask()[..., None]).sum(axis=1)
    return total


def as_it_is(predictions: Predictions) -> Array:
    """Log-probabilities ``(N, C)`` of the decision as it is; without a stated one the plain sum is the decision."""
    stated = stated_decision(predictions)
    return log_softmax(plain_sum(predictions) if stated is None else stated, axis=-1)


def model_decision(predictions: Predictions) -> Array | None:
    """The model's own fused logits ``(N, C)``; None where they are not stated or were made by a fitted rule."""
    own = predictions.unruled or predictions
    return None if "rule" in own.meta else stated_decision(own)


def summands(predictions: Predictions, fused: Array) -> dict[str, Array] | None:
    """The modalities' logits, where they sum to ``fused (N, C)`` up to a constant per row; else None.

    The logits of a missing modality may count or not: a linear head adds its share of the bias there.
    """
    mask = dict(zip(predictions.modalities, predictions.present_mask().T, strict=True))
    parts = predictions.logits
    for given in (parts, {m: value * mask[m][:, None] for m, value in parts.items()}):
        total = np.sum(list(given.values()), axis=0)
        if np.abs(centred(total) - centred(fused)).max() < TOLERANCE * max(1.0, np.abs(centred(fused)).max()):
            return dict(given)
    return None


def inputs_of(predictions: Predictions, takes: Takes) -> Predictions:
    """What a rule that ``takes`` the parts, ``fused`` or both is fitted on: ``fused`` stands last, like a modality.

    ``fused`` is left out, and the parts are taken, where the predictions do not state it, where it is the sum of the
    parts, and where another rule made it.
    """
    if FUSED in predictions.modalities or takes == "parts":
        return predictions
    own, fused = predictions.unruled or predictions, model_decision(predictions)
    if fused is None or not len(predictions) or summands(predictions, fused) is not None:
        return predictions
    both = replace(
        predictions,
        modalities=(*predictions.modalities, FUSED),
        logits={**predictions.logits, FUSED: fused},
        subsets=coalitions_of(own) or own.subsets,
        unruled=None,
    )
    return only(both, [FUSED]) if takes == FUSED else both


def large(predictions: Predictions) -> bool:
    """Whether rows and classes are so many that single precision serves, or it was chosen for more of these rows."""
    known = next(iter(predictions.logits.values()))
    return known.dtype == np.float32 or known.size >= LARGE


def light(predictions: Predictions) -> Predictions:
    """The same rows; the decisions of many (``LARGE``) in single precision, to fit rules to them in less time and memory."""
    p = predictions
    if not large(p):
        return p

    def single(arrays: Mapping[Any, Array]) -> dict[Any, Array]:
        return {key: x.astype(np.float32, copy=False) for key, x in arrays.items()}

    fused = None if p.fused is None else p.fused.astype(np.float32, copy=False)
    return replace(
        p,
        logits=single(p.logits),
        fused=fused,
        contribution=single(p.contribution),
        subsets=single(p.subsets),
        shapley=single(p.shapley),
        baselines={},
        unruled=None if p.unruled is None else light(p.unruled),
    )


def only(predictions: Predictions, names: Sequence[str]) -> Predictions:
    """The decisions of some modalities alone, as rules take them; no fused decision is stated."""
    return replace(
        predictions,
        modalities=tuple(names),
        logits={m: predictions.logits[m] for m in names},
        present={m: mask for m, mask in predictions.present.items() if m in names},
        features={m: z for m, z in predictions.features.items() if m in names},
        fused=None,
        unruled=None,
        contribution={},
        subsets={},
        shapley={},
        baselines={},
        weights={},
        exchanged=None,
        weight={},
        bias=None,
    )


def stated_coalitions(predictions: Predictions) -> dict[tuple[str, ...], Array] | None:
    """Fused logits ``(N, C)`` by coalition of modalities; None where the predictions do not state each of them.

    Without any modality the decision is a uniform guess, unless it is stated.
    """
    p, fused = predictions, stated_decision(predictions)
    if fused is None or not p.subsets:
        return None
    stated = {(): np.zeros_like(fused), **p.subsets, p.modalities: fused}
    return stated if all(names in stated for names in subsets_of(p.modalities)) else None


def coalitions_of(predictions: Predictions) -> dict[tuple[str, ...], Array] | None:
    """Fused logits ``(N, C)`` by coalition: as stated, else sums of the contributions; None where neither are known.

    Contributions that were estimated (``shapley``) are those of a model that need not be additive.
    """
    p, stated = predictions, stated_coalitions(predictions)
    if stated is None and not p.shapley and all(m in p.contribution for m in p.modalities):
        zero = np.zeros((len(p), len(p.classes)))
        return {names: sum((p.contribution[m] for m in names), zero) for names in subsets_of(p.modalities)}
    return stated


def coalition_contributions(values: Mapping[tuple[str, ...], Array], modalities: tuple[str, ...]) -> dict[str, Array]:
    """Shapley value of each modality's part in logits ``(N, C)`` by coalition, plus 1/M of the empty coalition's."""
    shares = shapley_values(values, modalities)
    return {m: shares[m] + values[()] / len(modalities) for m in modalities}


def with_rule(predictions: Predictions, rule: Rule, name: str) -> Predictions:
    """The same rows decided by a fitted rule; ``unruled`` keeps them as the model decided them.

    The parts of the decision follow from the coalitions of modalities. A rule that takes the model's own decision needs
    that of each coalition. Where these are not known, the parts are left out.
    """
    own = predictions.unruled or predictions
    names, mask = own.modalities, own.present_mask()
    coalitions = coalitions_of(own) if rule.takes_fused else {}
    subsets: dict[tuple[str, ...], Array] = {}
    if coalitions is not None:
        for some in subsets_of(names):
            present = {m: mask[:, k] & (m in some) for k, m in enumerate(names)}
            subsets[some] = rule.apply(replace(own, present=present, fused=coalitions.get(some, own.fused)))
    return replace(
        own,
        fused=subsets[names] if subsets else rule.apply(own),
        subsets=subsets,
        contribution=coalition_contributions(subsets, names) if subsets else {},
        shapley={},
        baselines={},
        weights=rule.sample_weights(own),
        exchanged=None,
        meta=own.meta | {"rule": name},
        unruled=own,
    )
