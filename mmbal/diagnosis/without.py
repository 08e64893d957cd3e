"""What a model loses without a modality, in one call: paired, with intervals, overall and by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbal.diagnosis.coalitions import ADDITIVE, decision_of, log_likelihood
from mmbal.diagnosis.examine import choose
from mmbal.errors import UsageError, did_you_mean
from mmbal.maths.bootstrap import GAIN, SHARE, Bootstrap, Estimate
from mmbal.maths.scoring import correct
from mmbal.runs import read
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, NATS, plural
from mmbal.text import SHARE as PERCENT


@dataclass(frozen=True)
class Without:
    """The same samples decided with and without some modalities. Changes are negative where the model loses."""

    absent: tuple[str, ...]
    n: int
    accuracy: Estimate | None  # with all modalities
    without: Estimate | None  # accuracy without them
    change: Estimate  # of the accuracy
    nats: Estimate  # change of the log-likelihood of a sample
    classes: dict[str, Estimate]  # change of the accuracy, of each class that has samples

    def __str__(self) -> str:
        names = " and ".join(self.absent)
        return (
            f"Without {names} the model is right in {PERCENT.text(self.without)} of {plural(self.n, 'sample')}, with it in "
            f"{PERCENT.text(self.accuracy)}: {DIFFERENCE.text(self.change)}. The log-likelihood of a sample changes by "
            f"{NATS.text(self.nats)} nats."
        )

    def table(self) -> Table:
        """The change of each class, the largest loss first."""
        order = sorted(self.classes, key=lambda name: self.classes[name].value or 0.0)
        return Table.of(
            [Column("class", order), Column("change (pp)", [self.classes[c] for c in order], DIFFERENCE.bare())]
        )


def without(predictions: Any, *absent: str, split: str = "test") -> Without:
    """What the decision loses without the modalities ``absent``, on the samples that have them.

    ``predictions``: what :func:`mmbal.diagnose` takes, such as a run, a predictions file, or what :func:`mmbal.explain` gave
    for a model. The decision without a modality is stated (``subset_<modalities>``), or the sum of the other parts.
    Raises UsageError where it is not known, or no such modality or sample is there.

    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> arrays = {"labels": labels, "logits_sound": sound, "logits_face": face, "fused": sound + 3 * face}
    >>> arrays |= {"contribution_sound": sound, "contribution_face": 3 * face}
    >>> mmbal.without(arrays, "face").change.value  # of accuracy: from 0.5 to 1
    0.5
    """
    found = read(predictions)
    found.require_plausible()
    chosen, _ = choose(found, split)
    for m in absent:
        if m not in chosen.modalities:
            raise UsageError(f"There is no modality '{m}'.", did_you_mean(m, chosen.modalities))
    left = tuple(m for m in chosen.modalities if m not in absent)
    if not absent or not left:
        raise UsageError("Name one modality or more, and leave one.", f"There are {', '.join(chosen.modalities)}.")
    decision = decision_of(chosen)
    rest = decision.coalition(left)
    if rest is None:
        raise UsageError(f"The decision without {' and '.join(absent)} is not known.", f"It needs {ADDITIVE}.")
    present = chosen.present_mask()[:, [m in absent for m in chosen.modalities]].any(axis=1)
    rows = np.flatnonzero(present)
    if not len(rows):
        raise UsageError(f"No sample of '{split}' has {' or '.join(absent)}.")
    rows_of = chosen.take(rows)
    labels = rows_of.labels
    both = [decision.fused[rows], rest[rows]]
    right = [correct(scores, labels) for scores in both]
    likely = [log_likelihood(scores, labels) for scores in both]
    boot = Bootstrap.of(len(rows), rows_of.group)
    lost = right[1] - right[0]
    by_class = {
        name: boot.gain(lost[own], own, GAIN)
        for k, name in enumerate(rows_of.classes)
        if len(own := np.flatnonzero(labels == k))
    }
    return Without(
        absent,
        len(rows),
        boot.mean(right[0], bounds=SHARE),
        boot.mean(right[1], bounds=SHARE),
        boot.gain(lost, bounds=GAIN),
        boot.gain(likely[1] - likely[0]),
        by_class,
    )
