"""What a diagnosis says: the typed, versioned document behind diagnosis.json (docs/diagnosis.md explains each figure).

Keys of modalities and classes are their names. A figure that can't be computed is absent from its table (or null), and
``not_computed`` says why and which array it would need.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from mmbal.config import Config, validate
from mmbal.diagnosis.significance import Estimate
from mmbal.errors import DataError
from mmbal.files import read_json, write_json

SCHEMA_VERSION = 1

Estimates = dict[str, Estimate]


class Data(Config):
    """What was diagnosed."""

    split: str
    samples: int
    modalities: list[str]
    classes: dict[str, int] = Field(description="class -> samples of it in the split")
    absent: dict[str, int] = Field(description="modality -> samples that lack it")
    groups: int | None = Field(description="number of groups (speakers, patients...) where they are known")
    decision: str = Field(description="which decision counts as the model's own")
    contributions: str | None = Field(description="where the modalities' additive parts come from")
    reference: str | None = Field(description="the separately trained encoders it was compared with")
    meta: dict[str, Any] = Field(description="what the predictions file says of itself")
    warnings: list[str] = Field([], description="what was done to read the file, and what looks wrong in it")


class Settings(Config):
    """How the intervals and the fitted parts came about."""

    bootstrap: int
    seed: int
    confidence: float
    resampled: str = Field(description="what a replicate draws: 'sample' or 'group'")
    rule: str = Field(description="the decision rule that the decision gap is measured against")
    fitted_on: str = Field(description="'calibration split' or 'cross-fitted in the split'")


class Accuracy(Config):
    """Shares of samples decided rightly."""

    fused: Estimate
    alone: Estimates = Field(description="by the modality's own decision, over the samples that have it")
    probe: Estimates = Field(description="by a linear probe on its features, held out")
    reference: Estimates = Field(description="by the same probe on (or the decision of) the separately trained encoder")
    best: str = Field(description="the modality that is right most often alone")
    fusion_gain: Estimate = Field(description="fused less the best modality alone; interval widened for the choice")
    chance: float = Field(description="share of the most frequent class")


class Shapley(Config):
    """Shapley values over modality coalitions; they sum to the value of all minus the value of none."""

    accuracy: Estimates
    log_likelihood: Estimates = Field(description="nats a sample")
    none: dict[str, float] = Field(description="value of the empty coalition: a uniform guess unless the file gives it")
    helps: Estimates = Field(description="share of samples whose log-likelihood the modality raises")


class Balance(Config):
    """One modality's say against its worth."""

    difference: Estimate = Field(description="contribution minus capability; negative: heard too little")
    weight: Estimate = Field(description="what its votes should be multiplied by, relative to the mean modality")
    p: float | None = Field(description="of 'the difference is zero', after Holm's correction")
    flag: str | None = Field(description="'too little', 'too much', or null where no imbalance is shown")


class Calibration(Config):
    """How honest the confidences are."""

    nll: Estimate = Field(description="negative log-likelihood, nats")
    brier: Estimate = Field(description="in [0, 2]")
    ece: Estimate = Field(description="expected calibration error, 15 bins of equal mass")
    temperature: Estimate | None = Field(
        description="that would calibrate it; above 1: over-confident; null: unbounded"
    )


class Preference(Config):
    """Whom the decision follows."""

    disagreement: Estimate = Field(description="share of samples whose modalities decide differently")
    follows: Estimates = Field(description="of those samples, the share decided as the modality does")
    flips: Estimates = Field(description="share of all samples decided differently without the modality")


class Preferred(Config):
    """The samples on whose true class one modality is the most confident (Balanced Audiovisual Dataset, 2302.10912)."""

    share: Estimate
    fused: Estimate = Field(description="accuracy of the model there")
    alone: Estimate = Field(description="accuracy of that modality there")


class Samples(Config):
    """Sample-level relations between the modalities' decisions."""

    preferred: dict[str, Preferred]
    agreement: Estimates = Field(description="per pair 'a+b': the share decided alike")
    double_fault: Estimates = Field(description="per pair: the share that both get wrong")
    oracle: Estimate = Field(description="share that at least one modality gets right")


class DiscrepancyBin(Config):
    """The samples that one modality prefers by a discrepancy in ``[low, high)``."""

    low: float
    high: float
    samples: int
    fused: Estimate = Field(description="accuracy of the model there")
    alone: Estimates = Field(description="accuracy of each unimodal model there")
    gain: Estimate = Field(description="fused less the unimodal model of the modality that is preferred")


class Discrepancy(Config):
    """Accuracy where one modality is more confident of the truth than the others are on average (2302.10912)."""

    by: str = Field(description="whose confidences: the separately trained models', or the modalities' own decisions'")
    preferred: dict[str, DiscrepancyBin] = Field(description="all samples that the modality prefers")
    bins: dict[str, dict[str, DiscrepancyBin]] = Field(
        description="modality -> number of the bin, from 1 -> its samples"
    )


class Norm(Config):
    """A norm of one modality, raw and with standardised features, and how it differs from the other modalities'."""

    raw: Estimate
    standardised: Estimate | None = None
    effect: float | None = Field(
        None, description="standardised mean difference of log raw norm to the others' mean (Cohen's d)"
    )


class Norms(Config):
    """Norms of the feature z, of the rows of the decision weights W, and of the votes W z (class-centred)."""

    features: Norm | None = None
    weights: Norm | None = None
    votes: Norm | None = None


class Geometry(Config):
    """How the features of one modality lie in their space."""

    separability: float = Field(description="between-class over within-class variance of standardised features")
    effective_rank: float = Field(description="exp of the entropy of the covariance spectrum")
    dimensions: int
    nearest_centroid: Estimate = Field(description="accuracy of the nearest class mean, cross-fitted")


class Gap(Config):
    """What is lost, positive where something is."""

    accuracy: Estimate
    nats: Estimate | None = None


class RepresentationGap(Gap):
    """What better encoders would give to the fused decision, and to each modality alone."""

    modalities: dict[str, Gap]
    by: str = Field(description="'linear probes' on features, or the modalities' 'own decisions'")


class Absence(Config):
    """Accuracy when one modality is disturbed."""

    absent: Estimate | None = Field(None, description="its part is taken out")
    zeroed: Estimate | None = Field(None, description="its feature vector is zero; its share of the bias stays")
    mean: Estimate | None = Field(None, description="its part is replaced by the mean part")
    shuffled: Estimate | None = Field(None, description="its parts are permuted over the samples")


class ClassNorms(Config):
    """Mean norms of one modality over the samples of one class."""

    features: float | None = None
    weights: float | None = None
    votes: float | None = None


class ClassDiagnosis(Config):
    """The same figures within one class."""

    samples: int
    fused: Estimate | None = None
    alone: Estimates = {}
    probe: Estimates = {}
    contribution: Estimates = {}
    capability: Estimates = {}
    balance: dict[str, Balance] = {}
    shapley: Estimates = Field({}, description="of accuracy")
    follows: Estimates = {}
    decision_gap: Gap | None = None
    representation_gap: Gap | None = None
    norms: dict[str, ClassNorms] = {}


class HumanClass(Config):
    """One emotion: how the model and the raters do with voice and face."""

    model: Estimates = Field(description="accuracy alone of the model's 'voice' and 'face'")
    raters: Estimates
    model_follows_voice: Estimate | None = None
    raters_follow_voice: Estimate | None = None


class Human(Config):
    """The model beside CREMA-D's human raters; voice and face are the raters' names of the two modalities."""

    modalities: dict[str, str] = Field(description="voice, face -> the model's modality")
    clips: int
    model_follows: Estimates
    raters_follow: Estimates
    classes: dict[str, HumanClass]


class HeavyTails(Config):
    """Tail indices of the norms that the recorder `heavy_tails` saw in training, by modality; smaller is heavier."""

    says: str
    learning_rate: float = Field(description="of the run; a larger one makes tails heavier")
    batch_size: int = Field(description="of the run; a smaller one makes tails heavier")
    gradient_noise: Estimates
    update_norm: Estimates
    weight_norm: Estimates


class NotComputed(Config):
    """A figure that the predictions do not allow."""

    what: str
    reason: str
    needs: str = ""


class Advice(Config):
    """A command worth typing next, and what it does."""

    command: str
    purpose: str


class Diagnosis(Config):
    """The whole document."""

    schema_version: int = SCHEMA_VERSION
    mmbal: str = Field(description="version of mmbal that wrote it")
    verdict: list[str]
    advice: list[Advice]
    index: Estimate | None = Field(description="imbalance in [0, 1]; 0: every modality counts as much as it is worth")
    contribution: Estimates = Field(description="share of the say of each modality")
    capability: Estimates = Field(description="share of the say it would have if its votes were weighed by their worth")
    balance: dict[str, Balance]
    decision_gap: Gap | None
    representation_gap: RepresentationGap | None
    shortfall: Gap | None = Field(description="decision gap + representation gap")
    accuracy: Accuracy
    shapley: Shapley | None
    calibration: dict[str, Calibration] = Field(description="of each modality, and of 'fused'")
    preference: Preference | None
    samples: Samples | None
    discrepancy: Discrepancy | None = None
    norms: dict[str, Norms]
    geometry: dict[str, Geometry]
    missing: dict[str, Absence]
    classes: dict[str, ClassDiagnosis]
    human: Human | None
    tails: HeavyTails | None = Field(None, description="of a run that was trained with record=[heavy_tails]")
    not_computed: list[NotComputed]
    data: Data
    settings: Settings

    def save(self, path: str | Path) -> None:
        """Write the diagnosis as JSON, atomically."""
        write_json(Path(path), self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | Path) -> Diagnosis:
        """Read a diagnosis; raises UsageError (no file), DataError (not JSON, another version), ConfigError (keys)."""
        document = read_json(Path(path))
        version = document.get("schema_version") if isinstance(document, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{path} is not a diagnosis of schema version {SCHEMA_VERSION} (it says: {version}).",
                "Write it anew with `mmbal diagnose`.",
            )
        return validate(cls, document, str(path))
