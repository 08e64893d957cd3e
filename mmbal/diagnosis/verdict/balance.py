"""Sentences on contribution against capability, over all classes and by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmbal.diagnosis.words import capital, joined, listed, percent
from mmbal.text import PLAIN

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis


def overall(d: Diagnosis) -> str:
    """The modality that contributes least of what it should, or that no imbalance is shown."""
    if d.index is None:
        return ""
    index = f"imbalance index {PLAIN.text(d.index, interval=False)}"
    flagged, furthest = any(b.flag for b in d.balance.values()), worst(d)
    if flagged and not furthest:
        return f"The contribution of each modality equals its capability to about 1 pp ({index})."
    if not flagged:
        largest = max(d.contribution, key=lambda m: d.contribution[m].value)
        figures = f"{percent(d.contribution[largest])} of the contribution and {percent(d.capability[largest])}"
        anywhere = any(b.flag for one in d.classes.values() for b in one.balance.values())
        over = "over all classes" if anywhere else "at the decision layer"
        return f"No imbalance is shown {over}: {largest} has {figures} of the capability ({index})."
    only = "only " if d.balance[furthest].flag == "too little" else ""
    return (
        f"{capital(furthest)} carries {percent(d.capability[furthest])} of the evidence (capability) but makes up "
        f"{only}{percent(d.contribution[furthest])} of the decision (contribution); {index}."
    )


def worst(d: Diagnosis) -> str:
    """The modality whose contribution is furthest from its capability, significantly and visibly; '' where there is none.

    Of two mirror images it is the one that contributes too little.
    """
    flagged = [m for m in d.balance if d.balance[m].flag]
    visible = [m for m in flagged if percent(d.contribution[m]) != percent(d.capability[m])]
    order = {m: (round(abs(d.balance[m].difference.value), 6), d.balance[m].flag == "too little") for m in visible}
    return max(visible, key=lambda m: order[m], default="")


def claimed(d: Diagnosis) -> str:
    """The contributions alone, where no labels show what they should be."""
    order = sorted(d.contribution, key=lambda m: -d.contribution[m].value)
    shares = joined([f"{m} makes up {percent(d.contribution[m])}" for m in order])
    return f"Of the decision {shares} (contribution)." if order else ""


def by_class(d: Diagnosis) -> str:
    """The classes on which a modality contributes too little or too much."""
    flags = [(m, b.flag, c) for c, one in d.classes.items() for m, b in one.balance.items() if b.flag]
    told_of = d.data.modalities
    if len(told_of) == 2:  # the two are mirror images
        told_of = [m for m in told_of if m in d.balance and d.balance[m].flag == "too little"] or told_of[-1:]
    told = []
    for m in told_of:
        for flag in ("too little", "too much"):
            names = [c for n, f, c in flags if n == m and f == flag]
            if names:
                where = "every class" if len(names) == len(d.sampled()) else listed(names)
                told.append(f"{m} contributes {flag} on {where}")
    return f"By class, {'; '.join(told)}." if told else ""
