"""Which modality's branch trains in a heavier-tailed regime, from what the recorder `heavy_tails` left in a run folder.

Hodgkinson and Mahoney, ICML 2021, arXiv 2006.06293: a heavier tail (smaller index) comes with a larger learning rate, a
smaller batch or more varied data; two branches of one run share the first two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from mmbal.config import Frozen
from mmbal.diagnosis.schema import Estimates
from mmbal.diagnosis.section import Section
from mmbal.errors import DataError
from mmbal.files import read_json, require_version
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.distributions import normal_cdf
from mmbal.maths.significance import holm
from mmbal.maths.tails import TailIndex
from mmbal.registry import sections
from mmbal.runs import TAILS, read_config
from mmbal.tables import Column, Table
from mmbal.text import COUNT, Form

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

NO_TAIL = 10.0  # an index above this is hardly different from a law without a power tail


class HeavyTails(Frozen):
    """Tail indices of the norms that the recorder `heavy_tails` saw in training, by modality; smaller is heavier."""

    says: str
    learning_rate: float = Field(description="of the run; a larger one makes tails heavier")
    batch_size: int = Field(description="of the run; a smaller one makes tails heavier")
    gradient_noise: Estimates
    update_norm: Estimates
    weight_norm: Estimates


class Tails(Frozen):
    """Tail indices by modality; a modality is left out where too little was recorded."""

    gradient_noise: dict[str, TailIndex]
    update_norm: dict[str, TailIndex]
    weight_norm: dict[str, TailIndex]


class HeavierTail(Frozen):
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
    if isinstance(document, dict):
        require_version(document, "format", 1, str(run / TAILS))
    try:
        return Tails.model_validate(
            {kind: {m: t for m, t in document[kind].items() if "not_computed" not in t} for kind in Tails.model_fields}
        )
    except (KeyError, TypeError, AttributeError, ValidationError):
        raise DataError(
            f"{run / TAILS} is no record of tail indices.", "Train again with `record: [heavy_tails]`."
        ) from None


def section_of(tails: Tails, run: Path) -> HeavyTails:
    """What was recorded, with what the run was trained with, and in words."""
    config = read_config(run)
    return HeavyTails(
        says=tails_in_words(tails),
        learning_rate=config["optimiser"]["lr"],
        batch_size=config["batch_size"],
        **{
            kind: {m: Estimate(value=t.value, low=t.low, high=t.high) for m, t in sorted(getattr(tails, kind).items())}
            for kind in Tails.model_fields
        },
    )


def compare_tails(tails: dict[str, TailIndex]) -> list[HeavierTail]:
    """Every pair of modalities, the most certain difference first (normal test of log alpha, Holm over the pairs)."""
    pairs = [sorted(pair, key=lambda m: tails[m].value) for pair in combinations(sorted(tails), 2)]
    if not pairs:
        return []
    chances = [
        float(2 * normal_cdf(-math.log(tails[b].value / tails[a].value) / math.hypot(tails[a].spread, tails[b].spread)))
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
    light = " None is heavy: an index above 10 is close to no power tail." if _light(noise) else ""
    first = compare_tails(noise)[0]
    if first.p >= significance:
        return f"No modality's gradient noise is shown to have a heavier tail (index {figures}).{light}"
    return f"The gradient noise of {first.heavier} has a heavier tail than that of {first.lighter} (index {figures}).{light}"


def _light(tails: dict[str, TailIndex]) -> bool:
    return all(t.value > NO_TAIL for t in tails.values())


@sections.register()
class TailsSection(Section):
    """Tail indices of the norms that a run recorded in training."""

    order = 140
    title = "Tail index of the norms in training"
    on_request = True
    fields = {
        "tails": (
            HeavyTails | None,
            Field(None, description="of a run that was trained with record=[heavy_tails]"),
        )
    }

    def measure(self, e: Examination) -> Mapping[str, Any]:
        tails = None if e.run is None else read_tails(e.run)
        return {} if tails is None or e.run is None else {"tails": section_of(tails, e.run)}

    def tables(self, d: Diagnosis) -> list[Table]:
        if d.tails is None:
            return []
        t, names = d.tails, d.data.modalities
        kinds = {"gradient noise": t.gradient_noise, "updates": t.update_norm, "weights": t.weight_norm}
        columns = [Column(kind, [found.get(m) for m in names], Form(1)) for kind, found in kinds.items()]
        caption = (
            f"A smaller index is a heavier tail. Learning rate {t.learning_rate:g}, batches of {t.batch_size}: a larger "
            "rate or a smaller batch tends to make tails heavier."
        )
        return [Table.of([Column("tail index", names), *columns], caption=caption)]

    def sentences(self, d: Diagnosis) -> list[str]:
        return [] if d.tails is None else [d.tails.says]

    def compared(self, d: Diagnosis) -> dict[str, tuple[str, Form]]:
        return {
            **{f"tails.gradient_noise.{m}": (f"tail index, {m}", Form(1)) for m in d.data.modalities},
            "tails.learning_rate": ("learning rate", Form(3)),
            "tails.batch_size": ("batch size", COUNT),
        }
