"""The configuration of a training run, complete enough to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mmbal.config import Config, validate
from mmbal.data.store.normalisation import with_normalisation
from mmbal.data.store.store import Store
from mmbal.errors import ConfigError
from mmbal.models.encoders import default_encoder
from mmbal.registry import AboutFusion, Entry, Registry, encoders, fusions, methods, recorders


class Choice(BaseModel):
    """A registered name and its options, ``{name: ogm_ge, alpha: 0.5}``."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def resolved(self, registry: Registry) -> Choice:
        """The same choice with every option checked and its default filled in."""
        kind = registry.get(self.name).Config
        options = validate(kind, self.options, f"{registry.kind} {self.name}")
        return Choice(name=self.name, **options.model_dump(mode="json"))


class OptimiserConfig(Config):
    """Optimiser and learning-rate schedule, over the epochs of a stage."""

    name: Literal["sgd", "adam", "adamw"] = Field("sgd", description="optimiser")
    lr: float = Field(0.02, gt=0, description="learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(1e-4, ge=0, description="weight decay")
    schedule: Literal["constant", "step", "cosine"] = Field("cosine", description="learning rate over the epochs")
    step_epochs: int = Field(70, ge=1, description="epochs between steps of `step`")
    gamma: float = Field(0.1, gt=0, description="factor of `step`")
    clip: float | None = Field(None, gt=0, description="largest norm of the whole gradient")


class TrainConfig(Config):
    """Everything that decides what a training run does."""

    data: str = Field(description="path of the store")
    modalities: tuple[str, ...] | None = Field(None, description="the modalities to use; all if not set")
    method: Choice = Choice(name="joint")
    fusion: Choice = Choice(name="concat")
    encoder: dict[str, Choice] = Field({}, description="encoder by modality; by kind and size of the input if not set")
    encoders_from: str | None = Field(None, description="run whose trained encoders to start from")
    freeze_encoders: bool = Field(False, description="train the fusion alone")
    views: int | None = Field(
        None, ge=1, description="augmented views of a sample whose features are cached where encoders are frozen"
    )
    epochs: int = Field(30, ge=1, description="number of epochs")
    batch_size: int = Field(32, ge=2, description="samples in a batch")
    accumulate: int = Field(1, ge=1, description="batches whose mean gradient makes a step of the optimiser")
    optimiser: OptimiserConfig = OptimiserConfig()
    augment: bool = Field(True, description="random crops, flips and frames, in training only")
    normalise: dict[str, str] = Field(
        {}, description="by modality: dataset, none, imagenet or MEAN,STD; as the store says if not set"
    )
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better validation")
    select: Literal["accuracy", "nll"] = Field("accuracy", description="validation figure that picks the best epoch")
    record: tuple[str, ...] = Field((), description="what to record during training: heavy_tails")
    optimistic: bool = Field(
        False, description="also record the test figures of each epoch, as many papers report their best"
    )
    seed: int = Field(0, ge=0, description="seed of everything random")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:0 or mps")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="number format of the forward pass")
    shared_batch_norm: bool | None = Field(
        None, description="normalise over all processes' samples; if not set, where one has fewer than 16 of a batch"
    )


class Started(NamedTuple):
    """What a run takes over from the one whose encoders it starts from, by modality."""

    encoder: Mapping[str, Choice] = {}
    normalise: Mapping[str, str] = {}


def resolve(config: TrainConfig, store: Store, started: Started = Started()) -> TrainConfig:  # noqa: B008, a constant
    """``config`` with the store's modalities, the encoder of each, and all options filled in and checked.

    Raises UsageError or ConfigError for what is unknown.
    """
    modalities = config.modalities or tuple(store.modalities)
    chosen: dict[str, Choice] = {}
    for m in modalities:
        spec = store.require(m)
        choice = config.encoder.get(m) or started.encoder.get(m) or Choice(name=default_encoder(spec))
        chosen[m] = choice.resolved(encoders)
    for m in config.encoder:
        store.require(m)
    with_normalisation(store, config.normalise)  # refuses what can't be
    normalise = {m: how for m, how in {**started.normalise, **config.normalise}.items() if m in modalities}
    if config.accumulate > 1 and not methods.entry(config.method.name).cls.accumulates:
        raise ConfigError(
            f"The method '{config.method.name}' needs all samples of a step at once, so it can't accumulate.",
            "Leave out --accumulate.",
        )
    if config.views is not None and not config.freeze_encoders:
        raise ConfigError(
            "views are of frozen encoders, and these learn.", "Add --freeze-encoders, or leave out --views."
        )
    for name in config.record:
        recorders.entry(name)
    require_fusion(config.method.name, config.fusion.name)
    return config.model_copy(
        update={
            "modalities": modalities,
            "encoder": chosen,
            "normalise": normalise,
            "method": config.method.resolved(methods),
            "fusion": config.fusion.resolved(fusions),
        }
    )


def require_fusion(method: str, fusion: str) -> None:
    """Raise ConfigError where the method needs something of the fusion that this one does not give."""
    needs = set(methods.entry(method).about.needs)
    lacking = sorted(needs - _gives(fusions.entry(fusion)))
    if lacking:
        fitting = [e.name for e in fusions if needs <= _gives(e)]
        raise ConfigError(
            f"The method '{method}' needs a fusion with '{lacking[0]}', which '{fusion}' does not have.",
            f"Fusions that have it: {', '.join(fitting)}.",
        )


def _gives(fusion: Entry[AboutFusion]) -> set[str]:
    return {*fusion.about.gives, *(["additive"] if fusion.about.additive else [])}
