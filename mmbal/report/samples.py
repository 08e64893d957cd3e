"""The samples on which one modality saves the decision, and those on which it sinks it, with what was seen and heard.

Modality m saves a sample that the model decides rightly, but wrongly without m; it sinks one that the model decides
wrongly, but rightly without m. Both need the decision without m (:meth:`mmbal.diagnosis.coalitions.Decision.without`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmbal.data.store.store import Store
from mmbal.diagnosis.coalitions import decision_of, log_likelihood
from mmbal.predictions.format import Predictions
from mmbal.progress import portion
from mmbal.report.media import Medium, heard, shown
from mmbal.tables import Column, Table
from mmbal.text import NATS_DIFFERENCE

MOST = 10  # samples of each kind


@dataclass(frozen=True)
class Sample:
    """One sample, what was decided with and without a modality, and by how many nats the modality moved the truth."""

    id: str
    truth: str
    modality: str
    decided: str
    without: str
    nats: float
    media: list[Medium] = field(default_factory=list)


def telling(predictions: Predictions, most: int = MOST) -> tuple[list[Sample], list[Sample]]:
    """The samples that a modality saves and those that it sinks, the clearest first; none where that is not known.

    A sample that two modalities save counts once, for the one that moves it more.
    """
    decision, labels, classes = decision_of(predictions), predictions.labels, predictions.classes
    own = decision.fused.argmax(axis=1)
    likely = log_likelihood(decision.fused, labels)
    found: dict[bool, dict[int, Sample]] = {True: {}, False: {}}
    for m, here in zip(predictions.modalities, predictions.present_mask().T, strict=True):
        without = decision.without(m)
        if without is None or len(predictions.modalities) < 2:
            continue
        other, moved = without.argmax(axis=1), likely - log_likelihood(without, labels)
        right, right_without = own == labels, other == labels
        for k in np.flatnonzero(here & (right != right_without)):
            saves = bool(right[k])
            known = found[saves].get(int(k))
            if known is None or abs(moved[k]) > abs(known.nats):
                told = (classes[labels[k]], m, classes[own[k]], classes[other[k]])
                found[saves][int(k)] = Sample(str(predictions.ids[k]), *told, float(moved[k]))
    saved, sunk = (sorted(group.values(), key=lambda s: -abs(s.nats))[:most] for group in (found[True], found[False]))
    return saved, sunk


def with_media(samples: Sequence[Sample], store: Store, sound: bool = False) -> list[Sample]:
    """The samples with what the store holds of them; ``sound``: to hear as well."""
    places = {str(name): k for k, name in enumerate(store.ids)}
    made = []
    for sample in samples:
        row = places.get(sample.id)
        ways = (shown, heard) if sound else (shown,)
        with portion(1 / (2 * MOST)):
            media = [] if row is None else [way(store, m, row) for m in store.modalities for way in ways]
        made.append(replace(sample, media=[medium for medium in media if medium is not None]))
    return made


def table(samples: Sequence[Sample]) -> Table:
    """One row a sample."""
    columns = [
        Column("sample", [s.id for s in samples]),
        Column("truth", [s.truth for s in samples], left=True),
        Column("modality", [s.modality for s in samples], left=True),
        Column("decided", [s.decided for s in samples], left=True),
        Column("without it", [s.without for s in samples], left=True),
        Column("effect (nats)", [s.nats for s in samples], NATS_DIFFERENCE),
    ]
    return Table.of(columns)
