"""Which modality's branch trains in a heavier-tailed regime, from what the recorder `heavy_tails` left in a run folder.

Hodgkinson and Mahoney, ICML 2021, arXiv 2006.06293: a heavier tail (smaller index) comes with a larger learning rate, a
smaller batch or more varied data; two branches of one run share the first two.
"""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

from pydantic import Field, ValidationError
from scipy.stats import norm

from mmbal.config import Config
from mmbal.diagnosis.schema import Diagnosis, HeavyTails
from mmbal.errors import DataError
from mmbal.files import read_json
from mmbal.maths.bootstrap import Estimate, holm
from mmbal.maths.tails import TailIndex
from mmbal.runs import TAILS, read_config

NO_TAIL = 10.0  # an index above this is hardly told from a law without a power tail


class Tails(Config):
    """Tail indices by modality; a modality is left out where too little was recorded to tell."""

    gradient_noise: dict[str, TailIndex]
    update_norm: dict[str, TailIndex]
    weight_norm: dict[str, TailIndex]


class HeavierTail(Config):
    """Two modalities whose tails differ: ``heavier`` has the smaller index; ``p`` is after Holm's correction."""

    heavier: str
    lighter: str
    ratio: float = Field(description="smaller index over larger")
    p: float


def read_tails(run: Path) -> Tails | None:
    """What was recorded in a run folder; None where nothing was. Raises DataError where the file is damaged."""
    if not (run / TAILS).is_file():
        return None
    document = read_json(run / TAILS)
    try:
        return Tails.model_validate(
            {kind: {m: t for m, t in document[kind].items() if "not_computed" not in t} for kind in Tails.model_fields}
        )
    except (KeyError, TypeError, AttributeError, ValidationError):
        raise DataError(
            f"{run / TAILS} is no record of tail indices.", "Train again with `record: [heavy_tails]`."
        ) from None


def with_tails(diagnosis: Diagnosis, run: Path | None) -> Diagnosis:
    """A run's diagnosis and what its folder tells of tails, in the verdict too; unchanged where nothing was recorded."""
    tails = None if run is None else read_tails(run)
    if run is None or tails is None:
        return diagnosis
    config = read_config(run)
    says = tails_in_words(tails)
    section = HeavyTails(
        says=says,
        learning_rate=config["optimiser"]["lr"],
        batch_size=config["batch_size"],
        **{
            kind: {m: Estimate(value=t.value, low=t.low, high=t.high) for m, t in sorted(getattr(tails, kind).items())}
            for kind in Tails.model_fields
        },
    )
    return diagnosis.model_copy(update={"tails": section, "verdict": [*diagnosis.verdict, says]})


def compare_tails(tails: dict[str, TailIndex]) -> list[HeavierTail]:
    """Every pair of modalities, the most certain difference first (normal test of log alpha, Holm over the pairs)."""
    pairs = [sorted(pair, key=lambda m: tails[m].value) for pair in combinations(sorted(tails), 2)]
    if not pairs:
        return []
    chances = [
        2 * norm.sf(math.log(tails[b].value / tails[a].value) / math.hypot(tails[a].spread, tails[b].spread))
        for a, b in pairs
    ]
    adjusted = holm(chances)
    found = [
        HeavierTail(heavier=a, lighter=b, ratio=tails[a].value / tails[b].value, p=float(p))
        for (a, b), p in zip(pairs, adjusted, strict=True)
    ]
    return sorted(found, key=lambda pair: pair.p)


def tails_in_words(tails: Tails, significance: float = 0.05) -> str:
    """One sentence on the gradient noise: whose branch is heavier-tailed, or that no difference is shown."""
    noise = tails.gradient_noise
    if len(noise) < 2:
        return "Too little gradient noise was recorded to compare the modalities' tails."
    figures = ", ".join(f"{m} {t.value:.1f} [{t.low:.1f}, {t.high:.1f}]" for m, t in sorted(noise.items()))
    light = " None is heavy: above 10 an index is hardly told from no power tail." if _light(noise) else ""
    first = compare_tails(noise)[0]
    if first.p >= significance:
        return f"No modality's gradient noise is shown to have a heavier tail (index {figures}).{light}"
    return f"The gradient noise of {first.heavier} has a heavier tail than that of {first.lighter} (index {figures}).{light}"


def _light(tails: dict[str, TailIndex]) -> bool:
    return all(t.value > NO_TAIL for t in tails.values())
