"""The accuracy when one modality is missing, zeroed, replaced by its mean, or shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import AliasChoices, Field

from mmbal.config import Frozen
from mmbal.diagnosis.coalitions import ADDITIVE, Decision, correct
from mmbal.diagnosis.figures import Figures
from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.format import Array, Predictions
from mmbal.registry import sections
from mmbal.tables import Column, Table
from mmbal.text import SHARE as PERCENT

if TYPE_CHECKING:
    from mmbal.diagnosis.document import Diagnosis
    from mmbal.diagnosis.examine import Examination

SHUFFLES = 10  # permutations averaged over


class Missing(Frozen):
    """Accuracy when one modality is removed or changed."""

    removed: Estimate | None = Field(
        None, validation_alias=AliasChoices("removed", "absent"), description="its part is taken out"
    )
    zeroed: Estimate | None = Field(None, description="its feature vector is zero; its share of the bias stays")
    mean: Estimate | None = Field(None, description="its part is replaced by the mean part")
    shuffled: Estimate | None = Field(None, description="its parts are permuted over the samples")


def missing_of(figures: Figures, predictions: Predictions, decision: Decision, m: str, seed: int) -> Missing | None:
    """Accuracy with modality ``m`` removed or changed, over the samples that have it; None where nothing is known.

    ``zeroed``, ``mean`` and ``shuffled`` act on the additive parts, so they need a fusion that is additive. A zero
    feature leaves the modality its share ``b / M`` of the bias, which must be given.
    """
    rows = np.flatnonzero(predictions.present_mask()[:, predictions.modalities.index(m)])
    without = decision.without(m)
    if without is None or not len(rows):
        return None
    labels = figures.labels[rows]
    found = {"removed": correct(without[rows], labels)}
    if not decision.given:
        part, rest = decision.contribution[m][rows], (decision.fused - decision.contribution[m])[rows]
        found["mean"] = correct(rest + part.mean(axis=0), labels)
        found["shuffled"] = _shuffled(part, rest, labels, seed)
        if predictions.bias is not None:
            found["zeroed"] = correct(rest + predictions.bias / len(predictions.modalities), labels)
    path = f"missing.{m}"
    estimates = {how: figures.add(f"{path}.{how}", figures.boot.means(right, rows)) for how, right in found.items()}
    return Missing.model_validate(estimates)


def _shuffled(part: Array, rest: Array, labels: Array, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    runs = [correct(rest + part[rng.permutation(len(part))], labels) for _ in range(SHUFFLES)]
    value: Array = np.mean(runs, axis=0)
    return value


@sections.register()
class MissingSection(Section):
    """The accuracy when a modality is removed or changed, in up to four ways."""

    order = 120
    title = "Missing modalities"
    full = True
    fields = {"missing": (dict[str, Missing], {})}
    renamed = {r"^(missing\..+)\.absent\b": r"\1.removed"}

    def measure(self, e: Examination) -> Mapping[str, Any]:
        found: dict[str, Missing] = {}
        if len(e.names) == 1:
            e.lacks("missing", e.single)
            return {}
        for m in e.names:
            disturbed = missing_of(e.figures, e.predictions, e.decision, m, e.seed)
            if disturbed is None:
                e.lacks(f"missing.{m}", "the decision without the modality is not known", ADDITIVE)
                continue
            found[m] = disturbed
            if disturbed.mean is None:
                ways = [f"missing.{m}.{way}" for way in ("zeroed", "mean", "shuffled")]
                e.lacks(ways, "the fusion is not additive, so the model itself would have to run")
            elif disturbed.zeroed is None:
                e.lacks(f"missing.{m}.zeroed", "the head's bias is not known", "bias")
        return {"missing": found}

    def tables(self, d: Diagnosis) -> list[Table]:
        if not d.missing:
            return []
        ways = ("removed", "zeroed", "mean", "shuffled")
        columns = [Column(way, [getattr(found, way) for found in d.missing.values()], PERCENT) for way in ways]
        return [Table.of([Column("accuracy, missing", list(d.missing)), *columns])]
