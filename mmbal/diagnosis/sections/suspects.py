"""Samples to look at: labels that all modalities contradict, and files that contradict the label and the other modalities.

What a modality says of the labels is a mixture: with probability 1 - e the label is drawn by the modality's own calibrated
probabilities, with probability e it is any of the C classes, whatever the sample holds:

    P(label) = (1 - e) softmax(b z)[label] + e / C,        b and e by maximum likelihood

The *doubt* of a sample is the posterior probability of the second case. The same is done for the product of all
modalities. A label is suspect where all modalities that the sample has decide alike, against the label, and the doubt of
their product is above 1/2. The file of a modality is suspect where all other modalities decide as the label says, and its
own doubt is above 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.decision.fused import LARGE
from mmbal.decision.rules.temperature import inverse_temperature
from mmbal.diagnosis.claims import learned
from mmbal.diagnosis.coalitions import own_decisions
from mmbal.diagnosis.section import Section
from mmbal.diagnosis.words import joined
from mmbal.maths.arrays import highest, log_softmax, sigmoid, total_of
from mmbal.maths.newton import newton
from mmbal.predictions.format import Array, Predictions
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import Form, plural

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

FAR = 20.0  # bound of -log b, and of the log odds of e, from below
DAMPING = 1e-3  # added to the curvature: steps stay short where the likelihood hardly depends on a parameter
TOLERANCE = 1e-10  # nats
SINGLE = 1e-7  # nats a sample, where many logits are taken in single precision
HALF = 0.5  # a doubt above this makes a sample suspect
MOST_SHOWN = 10  # rows of the table in the terminal; --suspects FILE.csv has all
LABELS = ("label", "the label")  # what is suspect: the label (the second, where a modality is called so), or a modality


class Suspect(Frozen):
    """One sample to look at."""

    id: str
    suspect: str = Field(description="'label', or the modality whose file looks wrong")
    label: str
    says: str = Field(description="what all modalities decide, or what this one does")
    doubt: float = Field(description="probability that label and decision have nothing to do with each other")


class Suspects(Frozen):
    """Samples whose label or file looks wrong."""

    count: dict[str, int] = Field(description="by 'label' and by modality: how many there are")
    p: dict[str, float] = Field(description="of 'all labels follow the calibrated probabilities' (likelihood ratio)")
    rows: list[Suspect] = Field(description="the most doubtful first")


class Mixture(NamedTuple):
    """Scale ``b``, share ``e`` and the likelihood ratio's p of e = 0."""

    scale: float
    share: float
    p: float

    @classmethod
    def fit(cls, logits: Array, labels: Array) -> Mixture:
        """Fit to logits ``(N, C)`` and labels ``(N,)``."""
        tolerance = TOLERANCE
        if logits.size >= LARGE:
            logits, tolerance = logits.astype(np.float32), SINGLE * len(labels)
        plain = inverse_temperature(log_softmax(logits, axis=-1), labels)
        start = -np.log(max(plain, 0.01)) - np.array([0.0, 0.5])
        loss = partial(_loss, logits=logits, labels=labels)
        x = min((newton(loss, np.array([own, -3.0]), -FAR, tolerance) for own in start), key=lambda x: loss(x)[0])
        ratio = 2 * (-loss(x)[0] - _likelihood(plain, 0.0, logits, labels))
        return cls(float(np.exp(-x[0])), float(sigmoid(x[1])), math.erfc(math.sqrt(max(ratio, 0.0) / 2)) / 2)

    def doubt(self, logits: Array, labels: Array) -> Array:
        """The posterior probability ``(N,)`` that a label is any class."""
        own = (1 - self.share) * np.exp(log_softmax(self.scale * logits, axis=-1)[np.arange(len(labels)), labels])
        any_class = self.share / logits.shape[1]
        found: Array = any_class / (own + any_class)
        return found


def _likelihood(scale: float, share: float, logits: Array, labels: Array) -> float:
    own = np.exp(log_softmax(scale * logits, axis=-1)[np.arange(len(labels)), labels].astype(np.float64))
    return float(np.log(np.maximum((1 - share) * own + share / logits.shape[1], 1e-300)).sum())


def _loss(x: Array, logits: Array, labels: Array) -> tuple[float, Array, Array]:
    """The negative log-likelihood of (-log b, log odds of e), its gradient ``(2,)``, and the outer products of the scores.

    Their sum ``(2, 2)`` stands for the Hessian, which need not be positive. Source: Berndt, Hall, Hall and Hausman 1974.
    """
    scale, share = float(np.exp(-x[0])), float(sigmoid(x[1]))
    rows, classes = np.arange(len(labels)), logits.shape[1]
    p = scale * logits
    p -= highest(p, -1, keepdims=True)
    np.exp(p, out=p)
    total = total_of(p)[:, 0].astype(np.float64)
    own = p[rows, labels] / total
    slope = scale * own * (np.einsum("nc,nc->n", p, logits) / total - logits[rows, labels])
    total = np.maximum((1 - share) * own + share / classes, 1e-300)
    scores = np.stack([(1 - share) * slope, share * (1 - share) * (1 / classes - own)]) / total
    return -float(np.log(total).sum()), -scores.sum(axis=1), scores @ scores.T + DAMPING * np.eye(2)


def label_of(modalities: Iterable[str]) -> str:
    """The word for the label beside the names of these modalities."""
    return next(word for word in LABELS if word not in set(modalities))


def product(p: Predictions, scales: Mapping[str, float]) -> Array:
    """Logits ``(N, C)`` of the product of the modalities that each sample has, each times its scale."""
    here = p.present_mask()
    found: Array = np.sum(
        [here[:, [k]] * log_softmax(scales[m] * p.logits[m], axis=-1) for k, m in enumerate(p.modalities)], axis=0
    )
    return found


def agreed(p: Predictions) -> tuple[Array, Array]:
    """What the modalities of each sample decide, and whether all of them decide it: ``(N,)`` both."""
    decided, here = own_decisions(p)
    said = np.where(here, decided, -1).max(axis=1)
    return said, ((decided == said[:, None]) | ~here).all(axis=1) & here.any(axis=1)


@sections.register()
class SuspectsSection(Section):
    """Labels and files that look wrong, sample by sample."""

    order = 148
    effort = 8.0
    title = "Samples to look at"
    full = True
    fields = {"suspects": (Suspects | None, None)}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        p, fitted = e.predictions, e.predictions if e.calibration is None else e.calibration
        decided, decides = own_decisions(p)
        there = dict(zip(p.modalities, fitted.present_mask().T, strict=True))
        known = [m for m in e.names if len(np.unique(fitted.labels[there[m]])) > 1]
        mixture = {m: Mixture.fit(fitted.logits[m][there[m]], fitted.labels[there[m]]) for m in known}
        if len(known) < len(e.names):
            e.lacks("suspects", "fewer than two classes have samples with some modality")
            return {}
        scales, label = {m: own.scale for m, own in mixture.items()}, label_of(e.names)
        mixture[label] = Mixture.fit(product(fitted, scales), fitted.labels)
        said, alike = agreed(p)
        doubt = mixture[label].doubt(product(p, scales), p.labels)
        found = [
            (row, label, int(said[row]), float(doubt[row]))
            for row in np.flatnonzero(alike & (said != p.labels) & (doubt > HALF)).tolist()
        ]
        right = (decided == p.labels[:, None]) | ~decides
        for k, m in enumerate(e.names):
            others = np.delete(decides, k, axis=1).any(axis=1) & np.delete(right, k, axis=1).all(axis=1)
            doubt = mixture[m].doubt(p.logits[m], p.labels)
            odd = decides[:, k] & others & ~right[:, k] & (doubt > HALF)
            found += [(row, m, int(decided[row, k]), float(doubt[row])) for row in np.flatnonzero(odd).tolist()]
        rows = [
            Suspect(id=str(p.ids[row]), suspect=what, label=p.classes[p.labels[row]], says=p.classes[says], doubt=q)
            for row, what, says, q in sorted(found, key=lambda one: -one[3])
        ]
        count = {what: sum(1 for one in rows if one.suspect == what) for what in (label, *e.names)}
        return {"suspects": Suspects(count=count, p={what: mixture[what].p for what in count}, rows=rows)}

    def tables(self, d: Diagnosis) -> list[Table]:
        if d.suspects is None or not d.suspects.rows:
            return []
        more = len(d.suspects.rows) - MOST_SHOWN
        caption = f"{more} more: --suspects FILE.csv has all." if more > 0 else ""
        return [listing(d, MOST_SHOWN, caption)]

    def sentences(self, d: Diagnosis) -> list[str]:
        s = d.suspects
        if s is None or not learned(d):
            return []
        label = label_of(d.data.modalities)
        told = [
            plural(n, "label") if what == label else f"{plural(n, 'file')} of {what}"
            for what, n in s.count.items()
            if n and s.p[what] < 1 - d.settings.confidence
        ]
        look = "look" if len(told) > 1 or not told or not told[0].startswith("1 ") else "looks"
        return [f"{joined(told)} {look} wrong; --suspects FILE.csv lists the samples."] if told else []


def listing(d: Diagnosis, most: int | None = None, caption: str = "") -> Table:
    """The samples to look at as a table, the most doubtful first; at most ``most`` of them."""
    rows = [] if d.suspects is None else d.suspects.rows[:most]
    columns = [
        Column("id", [one.id for one in rows]),
        Column("suspect", [one.suspect for one in rows], left=True),
        Column("label", [one.label for one in rows], left=True),
        Column("decided", [one.says for one in rows], left=True),
        Column("doubt", [one.doubt for one in rows], Form(3)),
    ]
    return Table(tuple(columns), caption=caption)
