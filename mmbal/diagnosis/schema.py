"""The parts of a diagnosis that all sections share; mmbal.diagnosis.document has the whole."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field

from mmbal.config import Frozen
from mmbal.maths.bootstrap import Estimate

SCHEMA_VERSION = 1

# Reasons, each with what is needed, that several sections give for what they can't measure
NO_REFERENCE = (
    "no reference is known",
    "predictions of separately trained encoders with the same ids (mmbal pretrain; --reference)",
)
NO_LABELS = ("the predictions have no labels", "labels")

Estimates = dict[str, Estimate]


class Data(Frozen):
    """What was diagnosed."""

    split: str
    samples: int
    modalities: list[str]
    classes: dict[str, int] = Field(description="class -> samples of it in the split")
    missing: dict[str, int] = Field(
        validation_alias=AliasChoices("missing", "absent"), description="modality -> samples without it"
    )
    labelled: bool = Field(True, description="whether the labels are known")
    groups: int | None = Field(description="number of groups (speakers, patients...) where they are known")
    decision: str = Field(description="which decision counts as the model's own")
    contributions: str | None = Field(description="where the modalities' additive parts come from")
    reference: str | None = Field(description="the separately trained encoders it was compared with")
    fingerprint: str | None = Field(
        None, description="hash of a run's files that it follows from; null for other files"
    )
    meta: dict[str, Any] = Field(description="metadata of the predictions file")
    warnings: list[str] = Field([], description="what was done to read the file, and what looks wrong in it")


class Settings(Frozen):
    """How intervals and fitted parts were computed."""

    bootstrap: int
    seed: int
    confidence: float
    resampled: str = Field(description="what a replicate draws: 'sample' or 'group'")
    rule: str = Field(description="the decision rule that the decision gap is measured against")
    fitted_on: str = Field(description="'calibration split' or 'cross-fitted in the split'")
    fitted_samples: int | None = Field(None, description="number of samples that the rule was fitted to")


class Gap(Frozen):
    """What is lost, positive where something is."""

    accuracy: Estimate
    nats: Estimate | None = None


class RepresentationGap(Gap):
    """What better encoders would give to the fused decision, and to each modality alone."""

    modalities: dict[str, Gap]
    by: str = Field(description="'linear probes' on features, or the modalities' 'own decisions'")


class NotComputed(Frozen):
    """A figure that can't be computed from the predictions."""

    what: str
    reason: str
    needs: str = ""


class Advice(Frozen):
    """A useful next command, and what it does."""

    command: str
    purpose: str
