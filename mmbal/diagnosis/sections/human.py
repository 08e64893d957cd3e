"""The model compared with the people who rated CREMA-D by the voice alone, by the face alone, or by both.

Votes: Cao, Cooper, Keutmann, Gur, Nenkova and Verma, "CREMA-D: Crowd-sourced emotional multimodal actors dataset", IEEE
Transactions on Affective Computing 2014; 4,901 clips of the actors 1001 to 1060, shipped under the ODbL. Raters and
model are compared class by class, each on its own clips, since the raters' clips are not the model's test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.figures import Figures, present
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.errors import DataError
from mmbal.maths.bootstrap import Bootstrap, Estimate
from mmbal.predictions.format import Array, Predictions
from mmbal.predictions.humans import read_votes
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

SENSES = {"voice": ("voice", "audio", "speech", "sound"), "face": ("face", "video", "visual", "vision", "image")}
EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")


class HumanClass(Frozen):
    """One emotion: how the model and the raters do with voice and face."""

    model: Estimates = Field(description="accuracy alone of the model's 'voice' and 'face'")
    raters: Estimates
    model_follows_voice: Estimate | None = None
    raters_follow_voice: Estimate | None = None


class Human(Frozen):
    """The model compared with CREMA-D's human raters; voice and face are the raters' names of the two modalities."""

    modalities: dict[str, str] = Field(description="voice, face -> the model's modality")
    clips: int
    model_follows: Estimates
    raters_follow: Estimates
    classes: dict[str, HumanClass]


def human_of(
    predictions: Predictions,
    figures: Figures,
    preference: Any,
    per_class: Mapping[str, Mapping[str, Any]],
) -> Human:
    """The model's accuracy alone and preference by emotion, compared with the raters'.

    ``per_class``: class -> "alone" and "follows" -> modality -> estimate.

    Raises DataError where the ids are not CREMA-D clips (``1001_DFA_ANG_XX``), or no modality of voice or of face is found.
    """
    sense_of = _senses(predictions.modalities)
    emotion = _emotions(predictions)
    raters = _Raters.load(figures.boot)
    classes = {}
    for c, name in emotion.items():
        alone, follows = (per_class.get(c, {}).get(section, {}) for section in ("alone", "follows"))
        classes[name] = HumanClass(
            model=present({s: alone.get(m) for s, m in sense_of.items()}),
            raters=present({s: raters.accuracy(s, name) for s in sense_of}),
            model_follows_voice=follows.get(sense_of["voice"]),
            raters_follow_voice=raters.follow("voice", name),
        )
    own = preference.follows if preference is not None else {}
    return Human(
        modalities=sense_of,
        clips=len(raters.labels),
        model_follows=present({s: own.get(m) for s, m in sense_of.items()}),
        raters_follow=present({s: raters.follow(s) for s in sense_of}),
        classes=classes,
    )


def _senses(modalities: tuple[str, ...]) -> dict[str, str]:
    found = {s: [m for m in modalities if m.lower() in names] for s, names in SENSES.items()}
    for sense, own in found.items():
        if len(own) != 1:
            raise DataError(
                f"None of the modalities {', '.join(modalities)} is known to be the raters' '{sense}'.",
                f"One of them must be called {' or '.join(SENSES[sense])}.",
            )
    return {sense: own[0] for sense, own in found.items()}


def _emotions(predictions: Predictions) -> dict[str, str]:
    """Class -> emotion, as the ids of its samples say."""
    found: dict[str, str] = {}
    for name, label in zip(predictions.ids.tolist(), predictions.labels.tolist(), strict=True):
        parts = name.split("_")
        c = predictions.classes[label]
        if len(parts) != 4 or parts[2] not in EMOTIONS or found.setdefault(c, parts[2]) != parts[2]:
            raise DataError(
                f"The raters are compared by CREMA-D's clip names (1001_DFA_ANG_XX), but class '{c}' holds '{name}'.",
                "Write the clip names into 'ids', or leave --human out.",
            )
    return {c: found[c] for c in predictions.classes if c in found}


class _Raters:
    """Majority decisions of the raters, clip by clip."""

    def __init__(self, labels: Array, decided: dict[str, Array], boot: Bootstrap) -> None:
        self.labels = labels
        self.decided = decided
        self.boot = boot

    @classmethod
    def load(cls, like: Bootstrap) -> _Raters:
        votes = read_votes()
        order = [votes["classes"].astype(str).tolist().index(name) for name in EMOTIONS]
        labels = np.argsort(order)[votes["label"].astype(np.int64)]
        decided = {k: votes[f"{k}_votes"][:, order].argmax(axis=1) for k in ("voice", "face", "av")}
        boot = Bootstrap.of(len(labels), votes["actor"], like.replicates, 0, like.confidence)
        return cls(labels, decided, boot)

    def rows(self, emotion: str | None) -> Array:
        return np.ones(len(self.labels), dtype=bool) if emotion is None else self.labels == EMOTIONS.index(emotion)

    def accuracy(self, sense: str, emotion: str) -> Estimate | None:
        rows = np.flatnonzero(self.rows(emotion))
        return self.boot.mean(self.decided[sense][rows] == self.labels[rows], rows)

    def follow(self, sense: str, emotion: str | None = None) -> Estimate | None:
        rows = np.flatnonzero(self.rows(emotion) & (self.decided["voice"] != self.decided["face"]))
        return self.boot.mean(self.decided["av"][rows] == self.decided[sense][rows], rows)


@sections.register()
class HumanSection(Section):
    """The model compared with CREMA-D's raters, with ``--human``."""

    order = 130
    title = "Beside the human raters"
    on_request = True
    fields = {"human": (Human | None, None)}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        if not e.human:
            return {}
        return {"human": human_of(e.predictions, e.figures, e.found["preference"], e.per_class)}

    def tables(self, d: Diagnosis) -> list[Table]:
        h = d.human
        if h is None:
            return []
        known = h.classes.values()
        columns = [Column("class", list(h.classes))]
        for sense in ("voice", "face"):
            columns.append(Column(f"{sense} alone, model", [c.model.get(sense) for c in known], PERCENT))
            columns.append(Column(f"{sense} alone, raters", [c.raters.get(sense) for c in known], PERCENT))
        columns.append(Column("follows voice, model", [c.model_follows_voice for c in known], PERCENT))
        columns.append(Column("follows voice, raters", [c.raters_follow_voice for c in known], PERCENT))
        told = [PERCENT.text(who.get("voice"), interval=False) for who in (h.model_follows, h.raters_follow)]
        caption = (
            f"Where voice and face disagree, the model follows the voice in {told[0]}, people who had both in {told[1]} "
            f"({h.clips} clips)."
        )
        return [Table.of(columns, caption=caption)]
