"""Sentences on what is lost at the decision layer and in the encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmbal.diagnosis.claims import losers, negated, shown, shown_in_nats, unchanged
from mmbal.diagnosis.words import listed, loss
from mmbal.text import NATS_LOST, PP

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis

SLIGHT = 0.05  # nats a sample: below this the confidences are called slightly wrong
FEW_FITTED = 100  # with fewer samples a rule may miss a gain because there are too few


def decision_layer(d: Diagnosis) -> str:
    """What a fitted rule gains."""
    gap = d.decision_gap
    if gap is None:
        return ""
    if lost := at_the_decision_layer(d):
        return lost
    if shown_in_nats(gap):
        slightly = "slightly " if gap.nats.value < SLIGHT else ""
        return (
            f"No accuracy is shown to be lost at the decision layer, but its confidences are {slightly}wrong: the fitted "
            f"rule gains {NATS_LOST.text(gap.nats)} of log-likelihood{_cost(d)}."
        )
    if shown(negated(gap.accuracy)):
        return f"The decision layer is better than the fitted rule, by {loss(negated(gap.accuracy))}."
    if d.data.meta.get("rule") is None and unchanged(gap):
        return _kept(d)
    return f"No loss is shown at the decision layer ({loss(gap.accuracy)})."


def at_the_decision_layer(d: Diagnosis) -> str:
    """The accuracy that is lost there; empty where no loss is shown."""
    if d.decision_gap is None or not shown(d.decision_gap.accuracy):
        return ""
    lost = f"The model loses {loss(d.decision_gap.accuracy)} at the decision layer."
    return f"{lost} The fitted rule recovers this{cost}." if (cost := _cost(d)) else lost


def encoders(d: Diagnosis) -> str:
    """What separately trained encoders gain."""
    gap = d.representation_gap
    if gap is None:
        return ""
    if lost := in_the_encoders(d):
        return lost
    if shown(negated(gap.accuracy)):
        return f"Its encoders are better than those trained separately, by {loss(negated(gap.accuracy))}."
    return f"No loss is shown in the encoders ({loss(gap.accuracy)})."


def in_the_encoders(d: Diagnosis) -> str:
    """The accuracy that is lost there, and in which encoder; empty where no loss is shown."""
    gap = d.representation_gap
    if gap is None or not shown(gap.accuracy):
        return ""
    worst = [(g.accuracy.value, m) for m, g in gap.modalities.items() if shown(g.accuracy)]
    where = f", most in that of {max(worst)[1]} ({PP.text(max(worst)[0])} alone)" if worst else ""
    return f"It loses {loss(gap.accuracy)} in the encoders{where}."


def _cost(d: Diagnosis) -> str:
    """What the fitted rule loses on single classes, as the end of a sentence; empty where no loss is shown."""
    costs = [f"{loss(negated(gap.accuracy))} on {c}" for c, gap in losers(d).items()]
    return f", but loses {listed(costs)}" if costs else ""


def _kept(d: Diagnosis) -> str:
    n = d.settings.fitted_samples
    few = "" if n is None or n >= FEW_FITTED else "; with more samples it may find a gain"
    samples = "the samples" if n is None else f"{n} samples"
    return f"The rule '{d.settings.rule}' finds no gain at the decision layer with {samples}{few}."
