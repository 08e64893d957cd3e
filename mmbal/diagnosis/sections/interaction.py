"""What two modalities give together beyond what each of them gives: redundant, additive or synergistic.

The interaction is the Shapley interaction of the value of coalitions (:mod:`mmbal.maths.shapley`); of two modalities it
is v(both) - v(first) - v(second) + v(none), with the accuracy or the log-likelihood as v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mmbal.config import Frozen
from mmbal.diagnosis.claims import learned, shown
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.section import Section
from mmbal.diagnosis.words import capital, listed
from mmbal.maths.bootstrap import GAIN, MIN_SAMPLES, Estimate
from mmbal.maths.shapley import shapley_interactions
from mmbal.maths.significance import holm
from mmbal.predictions.format import Array
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import DIFFERENCE, NATS_DIFFERENCE, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

MARGINS = {"accuracy": 0.02, "log_likelihood": 0.02}  # an interaction below this, in accuracy or in nats, is of no size
BOUNDS = {"accuracy": (-2.0, 2.0), "log_likelihood": None}  # of the interaction on one sample
KINDS = ("redundant", "synergistic", "additive")


class Interaction(Frozen):
    """The interaction of two modalities; negative where they are redundant, positive where they are synergistic."""

    accuracy: Estimate
    log_likelihood: Estimate = Field(description="nats a sample")
    p: dict[str, float | None] = Field({}, description="of 'the interaction is zero', after Holm's correction")
    kind: dict[str, str | None] = Field(
        {}, description="by 'accuracy' and 'log_likelihood': redundant, additive, synergistic; null: nothing is shown"
    )


class PairInteraction(Interaction):
    """The interaction over all samples, and whether both modalities together are better than each alone."""

    joint: Estimate = Field(description="accuracy of both less that of the better one alone")


def kind_of(estimate: Estimate, p: float | None, margin: float, level: float) -> str | None:
    """The word for an interaction; None where neither a size nor its absence is shown.

    It has a size where it is shown to differ from zero and is ``margin`` or more. It is additive where its whole interval
    lies within the margin.
    """
    if p is not None and p < level and abs(estimate.value) >= margin:
        return "redundant" if estimate.value < 0 else "synergistic"
    inside = estimate.low is not None and estimate.high is not None and -margin < estimate.low <= estimate.high < margin
    return "additive" if inside else None


def joint_gain(figures: Figures, path: str, both: Array, alone: tuple[Array, Array]) -> Estimate:
    """What two modalities together gain over the better one, from the values ``(N,)`` of the samples.

    The gain is the smaller of two, over one and over the other. Each end of the interval is the smaller of the two ends:
    both gains must be shown, so no correction for their number is needed (Berger 1982, intersection-union tests).
    """
    boot, gains = figures.boot, [both - one for one in alone]
    figures.replicates[path] = np.minimum(*(boot.means(gain, bounds=GAIN) for gain in gains))
    means = [boot.mean_of(gain, bounds=GAIN) for gain in gains]
    value = min(float(gain.mean()) for gain in gains)
    if len(figures.labels) < MIN_SAMPLES or not means[0].freedom:
        return Estimate(value=value)
    low, high = (min(ends) for ends in zip(*(mean.interval(boot.confidence) for mean in means), strict=True))
    return Estimate(value=value, low=max(low, -1.0), high=min(high, 1.0))


@sections.register()
class InteractionSection(Section):
    """For each pair of modalities the interaction, overall and by class, and what both give jointly."""

    order = 55
    title = "Interaction"
    full = True
    fields = {
        "interaction": (dict[str, PairInteraction], Field({}, description="per pair 'a+b', over all samples")),
    }
    class_fields = {"interaction": (dict[str, Interaction], {})}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        if e.single or e.values is None:
            e.lacks("interaction", *([e.single] if e.single else e.without_values()))
            return {}
        values = {"accuracy": e.values.right, "log_likelihood": e.values.likely}
        gains = {
            measure: {f"{a}+{b}": gain for (a, b), gain in shapley_interactions(table, e.names).items()}
            for measure, table in values.items()
        }
        labels, right = e.predictions.labels, e.values.right
        places = {c: np.flatnonzero(labels == k) for k, c in enumerate(e.predictions.classes)}
        paths = {f"classes.{c}.interaction": c for c, rows in places.items() if len(rows)}
        for path, own in _judged(e.figures, gains, {path: places[c] for path, c in paths.items()}).items():
            e.file("interaction", {paths[path]: own})
        whole = _judged(e.figures, gains, {"interaction": np.arange(len(labels))})["interaction"]
        found = {}
        for a, b in combinations(e.names, 2):
            pair = f"{a}+{b}"
            joint = joint_gain(e.figures, f"interaction.{pair}.joint", right[a, b], (right[(a,)], right[(b,)]))
            found[pair] = PairInteraction(**dict(whole[pair]), joint=joint)
        return {"interaction": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        if not d.interaction:
            return []
        found = d.interaction.values()
        joint = ["shown" if shown(i.joint) else "not shown" for i in found]
        overall = [
            Column("pair", list(d.interaction)),
            *_columns(list(found)),
            Column("joint gain (pp)", [i.joint for i in found], DIFFERENCE.bare(), drop=2),
            Column("joint signal", joint, left=True),
        ]
        rows = [(c, pair, i) for c, one in d.sampled().items() for pair, i in one.interaction.items()]
        several = len(d.interaction) > 1
        by_class = [
            Column("class", [c for c, _, _ in rows]),
            Column("pair", [pair for _, pair, _ in rows] if several else [None for _ in rows], left=True),
            *_columns([i for _, _, i in rows]),
        ]
        caption = "Joint gain: the accuracy of both modalities together, less that of the better one alone."
        return [Table.of(overall, caption=caption), *([Table.of(by_class)] if rows else [])]

    def sentences(self, d: Diagnosis) -> list[str]:
        if not d.interaction or not learned(d):
            return []
        told = []
        for kind in KINDS:
            pairs = [pair.replace("+", " and ") for pair, i in d.interaction.items() if i.kind.get("accuracy") == kind]
            if len(d.interaction) == 1 and pairs:
                (only,) = d.interaction.values()
                told.append(f"{capital(pairs[0])} are {kind} (interaction {DIFFERENCE.text(only.accuracy)})")
            elif pairs:
                told.append(f"{listed(pairs)} are {kind}" if len(pairs) == 1 else f"{kind} pairs: {listed(pairs)}")
        jointly = [pair.replace("+", " and ") for pair, i in d.interaction.items() if shown(i.joint)]
        of = "" if len(d.interaction) == 1 or not jointly else f" for {listed(jointly)}"
        told.append(f"joint signal: {'shown' if jointly else 'not shown'}{of}")
        return [capital("; ".join(told)) + "."]

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        return {f"interaction.{pair}.accuracy": (f"interaction of {pair}", DIFFERENCE) for pair in d.interaction}


def _judged(
    figures: Figures, gains: Mapping[str, Mapping[str, Array]], places: Mapping[str, Array]
) -> dict[str, dict[str, Interaction]]:
    """The interactions at each path, over its rows, by pair; all of them are one family of tests for each measure."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for measure, table in gains.items():
        for path, rows in places.items():
            for pair, gain in table.items():
                estimate = figures.mean(f"{path}.{pair}.{measure}", gain, rows, BOUNDS[measure])
                own = found.setdefault((path, pair), {"p": {}, "kind": {}})
                own[measure] = estimate
    level = 1 - figures.boot.confidence
    for measure, margin in MARGINS.items():
        means = {key: figures.means.get(f"{key[0]}.{key[1]}.{measure}") for key in found}
        tested = [key for key, mean in means.items() if mean is not None]
        p = dict(zip(tested, holm([mean.p for mean in means.values() if mean is not None]).tolist(), strict=True))
        for key, own in found.items():
            own["p"][measure] = p.get(key)
            own["kind"][measure] = kind_of(own[measure], p.get(key), margin, level)
    by_place: dict[str, dict[str, Interaction]] = {path: {} for path in places}
    for (path, pair), own in found.items():
        by_place[path][pair] = Interaction(**own)
    return by_place


def _columns(found: Sequence[Interaction]) -> list[Column]:
    return [
        Column("interaction (pp)", [i.accuracy for i in found], DIFFERENCE.bare()),
        Column("", [i.kind.get("accuracy") for i in found], left=True),
        Column("in nats", [i.log_likelihood for i in found], NATS_DIFFERENCE, drop=3),
        Column(" ", [i.kind.get("log_likelihood") for i in found], left=True, drop=3),
    ]
