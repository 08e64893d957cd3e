"""Sentences on the model against chance, and on the number of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmbal.diagnosis.claims import learned
from mmbal.diagnosis.words import percent, rounded_up
from mmbal.text import DIFFERENCE, SHARE, WHOLE, plural

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis

NO_LABELS = "The predictions have no labels: the diagnosis says what the model does, not whether that is right."
USEFUL = 0.1  # an accuracy this far above chance should be found if it is there
POWER = 2.04  # ((1.96 + 0.84) / 1.96)^2: samples that find a difference with 80 % power, over those that just reach it


def too_few(d: Diagnosis) -> str:
    """The only sentence on a handful of samples."""
    needed, n = None if d.accuracy is None else d.accuracy.samples_needed, d.data.samples
    more = f" About {rounded_up(needed)} samples would show the accuracy to within 10 pp." if needed else ""
    return f"There {'is' if n == 1 else 'are'} only {plural(n, 'sample')}: too few for a verdict.{more}"


def at_chance(d: Diagnosis) -> str:
    """A model that is not shown to be better than chance."""
    above = None if d.accuracy is None else d.accuracy.above_chance
    if above is None or learned(d):
        return ""
    if _classes_seen(d) < 2:
        return "All samples are of one class, so nothing shows whether the model is better than chance."
    right, by_chance = d.accuracy.fused.value, d.accuracy.fused.value - above.value
    if above.sign < 0:
        found = "worse than chance"
    elif above.value <= 0 or (above.high is not None and above.high < USEFUL):
        found = "at chance"
    else:
        found = "not shown to be better than chance"
    return (
        f"The model is {found}: it is right in {SHARE.text(right)} of the samples; the same decisions, shuffled over the "
        f"samples, would be right in {SHARE.text(by_chance)} (difference {DIFFERENCE.text(above)})."
    )


def samples_to_find(d: Diagnosis) -> str:
    """How many samples would show an accuracy that is above chance: as far as it is now, or by ``USEFUL``."""
    above = d.accuracy.above_chance
    if above is None or above.low is None or above.high is None or above.high == above.low:
        return ""
    half, aim = (above.high - above.low) / 2, above.value if above.value >= USEFUL else USEFUL
    needed = POWER * d.data.samples * (half / aim) ** 2
    if needed <= d.data.samples:
        return ""
    return f"About {rounded_up(needed)} samples would show an accuracy that is {100 * aim:.0f} pp above chance."


def order_of_columns(d: Diagnosis) -> str:
    """The usual mistake of a file that mmbal did not write."""
    if "run" in d.data.meta or "heads" in d.data.meta or _classes_seen(d) < 2:
        return ""
    return "If that is unexpected: are the columns of the logits in the order of the classes?"


def few(d: Diagnosis) -> str:
    """Where the samples are too few to know the accuracy well."""
    if not learned(d):
        return ""
    needed = d.accuracy.samples_needed
    if needed is None or needed <= d.data.samples:
        return ""
    return f"{d.data.samples} samples are few: about {rounded_up(needed)} would show the accuracy to within 10 pp."


def below_majority(d: Diagnosis) -> str:
    """A model that is right less often than the most frequent class occurs."""
    above = d.accuracy.above_majority
    if above is None or above.sign >= 0:
        return ""
    name = max(d.data.classes, key=lambda c: d.data.classes[c])
    return (
        f"The model is right in {percent(d.accuracy.fused)} of the samples; always choosing '{name}' would be right in "
        f"{WHOLE.text(d.accuracy.chance)}."
    )


def _classes_seen(d: Diagnosis) -> int:
    return sum(1 for n in d.data.classes.values() if n)
