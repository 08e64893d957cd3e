"""Sentences on whom the decision follows, and whether fusing helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmbal.diagnosis.claims import Followed, followed, in_order, negated, shown
from mmbal.diagnosis.words import capital, joined, loss, percent

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis


def who(d: Diagnosis) -> str:
    """Which modality decides where they disagree."""
    if len(d.data.modalities) == 1 and d.accuracy is None:
        return "There is only one modality, so there is no balance to judge."
    if len(d.data.modalities) == 1:
        return (
            f"There is only one modality, so there is no balance to judge: the model is right in "
            f"{percent(d.accuracy.fused)} of the samples."
        )
    found = d.preference
    if found is None:
        return "No sample has two modalities that decide, so nothing shows which of them the model follows."
    if not found.follows:
        return "The modalities never disagree, so nothing shows which of them the model follows."
    claim, order = followed(found), in_order(found)
    shares = joined([f"{m} in {percent(found.follows[m])}" for m in order])
    if claim is Followed.UNKNOWN:
        return "The modalities disagree on too few samples to show which of them the model follows."
    if claim is Followed.NONE:
        return (
            "The model mostly decides differently from each of its modalities alone: where they disagree, it does so in "
            f"{percent(found.none)} of the samples (it follows {shares})."
        )
    begin = {
        Followed.FIRST: f"{capital(order[0])} decides",
        Followed.LEANING: f"The model leans towards {order[0]}",
        Followed.SEVERAL: "No modality decides alone",
        Followed.NOT_SHOWN: "No modality is shown to decide",
    }[claim]
    return f"{begin}: where the modalities disagree, the model follows {shares} of the samples."


def people(d: Diagnosis) -> str:
    """How often people follow the voice, beside the model."""
    if d.human is None or "voice" not in d.human.model_follows:
        return ""
    raters, model = percent(d.human.raters_follow["voice"]), percent(d.human.model_follows["voice"])
    return f"People follow the voice in {raters} of such samples, this model in {model}."


def fusion(d: Diagnosis) -> str:
    """A fused decision that is worse than its best modality."""
    lost = negated(d.accuracy.fusion_gain)
    if len(d.data.modalities) == 1 or not shown(lost):
        return ""
    return f"The fused decision is worse than {d.accuracy.best} alone by {loss(lost)}."
