"""Whom the decision follows, and how the modalities' own decisions relate sample by sample."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.special import log_softmax

from mmbal.diagnosis.coalitions import Decision, correct
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.schema import Estimates, Preference, Preferred, Samples
from mmbal.maths.bootstrap import GAIN, SHARE
from mmbal.predictions.format import Array, Predictions


def own_decisions(predictions: Predictions) -> tuple[Array, Array]:
    """Class decided by each modality alone ``(N, M)`` and whether it is there to decide ``(N, M)``."""
    decided = np.stack([predictions.logits[m].argmax(axis=1) for m in predictions.modalities], axis=1)
    return decided, predictions.present_mask()


def disagreement(predictions: Predictions) -> Array:
    """Whether the modalities that a sample has decide differently ``(N,)``."""
    decided, here = own_decisions(predictions)
    return np.where(here, decided, -1).max(axis=1) != np.where(here, decided, len(predictions.classes)).min(axis=1)


def preference_of(
    figures: Figures, predictions: Predictions, decision: Decision
) -> tuple[Preference | None, dict[str, Estimates]]:
    """How often the decision follows each modality, overall and by class; None where no sample has two modalities."""
    decided, here = own_decisions(predictions)
    differ = disagreement(predictions) & here.any(axis=1)
    several = here.sum(axis=1) > 1
    if not several.any():
        return None, {}
    fused = decision.fused.argmax(axis=1)
    agrees = (decided == fused[:, None]) & here
    follows, by_class, changes = {}, {}, {}
    for k, m in enumerate(predictions.modalities):
        rows = differ & here[:, k]
        follows[m] = figures.mean(f"preference.follows.{m}", agrees[:, k], np.flatnonzero(rows), SHARE)
        by_class[m] = figures.by_class(f"classes.{{}}.follows.{m}", agrees[:, k], rows, SHARE)
        without = decision.without(m)
        if without is not None:
            changed = here[:, k] & (without.argmax(axis=1) != fused)
            changes[m] = figures.mean(f"preference.changes_without.{m}", changed, bounds=SHARE)
    rate = figures.mean("preference.disagreement", differ, np.flatnonzero(several), SHARE)
    assert rate is not None  # some sample has two modalities
    found = Preference(
        disagreement=rate,
        follows=present(follows),
        none=figures.mean("preference.none", ~agrees.any(axis=1), np.flatnonzero(differ), SHARE),
        lead=_lead(figures, predictions.modalities, agrees, here & differ[:, None]),
        changes_without=present(changes),
    )
    return found, by_class


def _lead(figures: Figures, names: tuple[str, ...], agrees: Array, asked: Array) -> Estimates:
    """How much more often the first modality of each pair is followed than the second, on the samples of both.

    ``agrees (N, M)``: whether the decision is the modality's; ``asked (N, M)``: whether it is there and they disagree.
    """
    found = {}
    for i, j in combinations(range(len(names)), 2):
        pair, ahead = f"{names[i]}+{names[j]}", agrees[:, i].astype(float) - agrees[:, j]
        found[pair] = figures.mean(f"preference.lead.{pair}", ahead, np.flatnonzero(asked[:, i] & asked[:, j]), GAIN)
    return present(found)


def samples_of(figures: Figures, predictions: Predictions, decision: Decision) -> Samples | None:
    """Preferred subsets, agreement, double faults and the oracle; None where no sample has two modalities."""
    decided, here = own_decisions(predictions)
    several = here.sum(axis=1) > 1
    if not several.any():
        return None
    names, labels = predictions.modalities, predictions.labels
    right = (decided == labels[:, None]) & here
    fused = correct(decision.fused, labels)
    rows = np.arange(len(labels))
    confidence = np.stack([log_softmax(predictions.logits[m], axis=-1)[rows, labels] for m in names], axis=1)
    confidence[~here] = -np.inf
    best = confidence.max(axis=1, keepdims=True)
    favourite = np.where((confidence == best).sum(axis=1) == 1, confidence.argmax(axis=1), -1)
    preferred = {}
    for k, m in enumerate(names):
        chosen = np.flatnonzero(several & (favourite == k))
        path = f"samples.preferred.{m}"
        share = figures.mean(f"{path}.share", favourite == k, np.flatnonzero(several), SHARE)
        there = figures.mean(f"{path}.fused", fused, chosen, SHARE)
        alone = figures.mean(f"{path}.alone", right[:, k], chosen, SHARE)
        if share and there and alone:
            preferred[m] = Preferred(share=share, fused=there, alone=alone)
    agreement, double_fault = {}, {}
    for i, j in combinations(range(len(names)), 2):
        pair, both = f"{names[i]}+{names[j]}", np.flatnonzero(here[:, i] & here[:, j])
        agreement[pair] = figures.mean(f"samples.agreement.{pair}", decided[:, i] == decided[:, j], both, SHARE)
        double_fault[pair] = figures.mean(f"samples.double_fault.{pair}", ~right[:, i] & ~right[:, j], both, SHARE)
    oracle = figures.mean("samples.oracle", right.any(axis=1), bounds=SHARE)
    assert oracle is not None  # there are samples
    return Samples(preferred=preferred, agreement=present(agreement), double_fault=present(double_fault), oracle=oracle)
