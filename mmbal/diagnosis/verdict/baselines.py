"""Sentences on what stands in for an absent modality: a claim that depends on it is not given as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmbal.diagnosis.verdict import balance, following
from mmbal.diagnosis.words import joined

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis

DEPENDS = {
    "who": "Which modality the model follows",
    "fusion": "Whether the fused decision is worse than one modality alone",
    "balance": "Whether a modality contributes too little",
    "classes": "For which classes a modality contributes too little",
}
STANDS_IN = {
    "zero": "zeros",
    "mean": "its mean",
    "missing": "missing values",
    "shuffled": "that of other samples",
    "conditional": "that of the nearest samples",
    "diffusion": "features that a diffusion model draws",
    "zero features": "zero features",
    "mask": "nothing: the model's own mask hides it",
}


def claims_of(d: Diagnosis) -> dict[str, str]:
    """What the sentences claim that depend on what stands in for an absent modality, without their figures."""
    worst = balance.worst(d)
    return {
        "who": following.who(d).partition(":")[0],
        "fusion": f"it is worse than {d.accuracy.best}" if following.fusion(d) else "no loss is shown",
        "balance": f"{worst} contributes {d.balance[worst].flag}" if worst else "no imbalance is shown",
        "classes": balance.by_class(d).rstrip(".") or "no class is affected",
    }


def settled(d: Diagnosis, kind: str, sentence: str) -> str:
    """The sentence where it claims the same under all baselines; else that it depends on them, and how."""
    if all(other.claims[kind] == claims_of(d)[kind] for other in d.baselines.values()):
        return sentence
    own = str(d.data.meta.get("baseline"))
    claims = {own: claims_of(d)[kind], **{name: other.claims[kind] for name, other in d.baselines.items()}}
    each = "; ".join(f"'{name}': {claim[:1].lower()}{claim[1:]}" for name, claim in claims.items())
    return f"{DEPENDS[kind]} depends on what stands in for an absent modality ({each})."


def absent(d: Diagnosis) -> str:
    """What stands in for an absent modality, where predictions say so, and whether other baselines agree."""
    name = d.data.meta.get("baseline")
    if name is None:
        return ""
    told = f"An absent modality is replaced by {STANDS_IN.get(name, f'what the baseline {name!r} gives')}"
    if d.baselines and all(other.claims == claims_of(d) for other in d.baselines.values()):
        return f"{told}; the verdict is the same with {joined([repr(other) for other in d.baselines])}."
    return f"{told}."
