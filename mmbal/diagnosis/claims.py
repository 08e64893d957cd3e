"""The tests that decide what a verdict claims, apart from its words; docs/diagnosis.md lists tests and margins.

No test uses a replicate of the bootstrap, so the same samples get the same verdict whatever the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

from mmbal.maths.bootstrap import Estimate
from mmbal.text import NATS_LOST, PP, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.schema import Gap
    from mmbal.diagnosis.sections.decision_gap import ClassGap
    from mmbal.diagnosis.sections.preference import Preference

MARGIN = 0.2  # a modality decides where it is shown to be followed this much more often than any other
LEAN = 0.05  # it leans towards one that is shown to be followed more often, by this much or more
MAJORITY = 0.5  # below this share no modality is followed in most samples
SAME = 1e-6  # nats: a rule whose gain is closer to zero than this changes nothing


def learned(d: Diagnosis) -> bool:
    """Whether the decision is shown to be better than chance (true for a document without that figure).

    False where there are no labels: nothing shows how good the model is.
    """
    if d.accuracy is None:
        return False
    return d.accuracy.above_chance is None or d.accuracy.above_chance.sign > 0


def shown(estimate: Estimate | None, form: Form = PP) -> bool:
    """Whether the whole interval, as it is printed, lies above zero."""
    return estimate is not None and estimate.low is not None and form.rounded(estimate.low) > 0


def shown_in_nats(gap: Gap) -> bool:
    """Whether a gap in log-likelihood is shown, as it is printed."""
    return shown(gap.nats, NATS_LOST)


def negated(e: Estimate) -> Estimate:
    """The estimate of minus the figure."""
    return Estimate(value=-e.value, low=None if e.high is None else -e.high, high=None if e.low is None else -e.low)


class Followed(Enum):
    """Whom the decision follows where the modalities disagree."""

    UNKNOWN = "too few samples"
    NONE = "none of them"
    FIRST = "the first"
    LEANING = "the first, more often than the others"
    SEVERAL = "not one alone"
    NOT_SHOWN = "not shown"


def in_order(found: Preference) -> list[str]:
    """The modalities, the one that is followed most often first."""
    return sorted(found.follows, key=lambda m: -found.follows[m].value)


def followed(found: Preference) -> Followed:
    """Whom the decision follows, by the lead of the first modality over each other one."""
    first, *others = in_order(found)
    top = found.follows[first]
    if top.low is None:
        return Followed.UNKNOWN
    if found.none is not None and found.none.value > MAJORITY:
        return Followed.NONE
    leads = [lead(found, first, m) for m in others]
    low, value = min(e.low or 0.0 for e in leads), min(e.value for e in leads)
    if low > MARGIN and top.value > MAJORITY:
        return Followed.FIRST
    if low > 0 and value >= LEAN:
        return Followed.LEANING
    if any(e.high is not None and e.high < MARGIN for e in leads):
        return Followed.SEVERAL
    return Followed.NOT_SHOWN


def lead(found: Preference, first: str, other: str) -> Estimate:
    """How much more often ``first`` is followed than ``other``, without an interval where that is not known."""
    if f"{first}+{other}" in found.lead:
        return found.lead[f"{first}+{other}"]
    if f"{other}+{first}" in found.lead:
        return negated(found.lead[f"{other}+{first}"])
    return Estimate(value=found.follows[first].value - found.follows[other].value)


def losers(d: Diagnosis) -> dict[str, ClassGap]:
    """The classes on which the fitted rule is shown to lose accuracy, the largest loss first."""
    gaps = {c: one.decision_gap for c, one in d.classes.items() if one.decision_gap is not None}
    losing = [c for c, gap in gaps.items() if gap.flag == "loses"]
    return {c: gaps[c] for c in sorted(losing, key=lambda c: gaps[c].accuracy.value)}


def unchanged(gap: Gap) -> bool:
    """Whether the fitted rule leaves every decision as the model made it."""
    ends: Sequence[float | None] = () if gap.nats is None else (gap.nats.low, gap.nats.high)
    return gap.accuracy.value == 0 and bool(ends) and all(end is not None and abs(end) < SAME for end in ends)
