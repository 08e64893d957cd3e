"""A study as it is written down: data sets, variants, seeds and a search; and the runs that follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, model_validator

from mmbal.config import Config, override, read_yaml, validate
from mmbal.engine.config import TrainConfig
from mmbal.engine.search import Search
from mmbal.engine.session import Session
from mmbal.errors import MmbalError, UsageError
from mmbal.registry import methods

T = TypeVar("T")

BASELINES = ("joint", "late_fusion")  # of every search
Chosen = Mapping[tuple[str, str], Mapping[str, Any]]  # (data set, variant) -> what the search chose, by key


class Study(Config):
    """``data``: name -> keys of the training config, ``data`` (the store) among them; ``variants``: name -> keys.

    A run's configuration is ``base``, then the data set's keys, then the variant's (nested keys are merged). With a
    ``search``, ``variants`` may be left out: then they are all methods, each under the fusion that it needs.
    """

    data: dict[str, dict[str, Any]] = Field(min_length=1)
    variants: dict[str, dict[str, Any]] = {}
    base: dict[str, Any] = {}
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    search: Search | None = None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        """A search without variants has all methods; one with variants has the baselines too."""
        if not isinstance(values, dict) or values.get("search") is None:
            if isinstance(values, dict) and not values.get("variants"):
                raise ValueError("a study without a search needs variants")
            return values
        given = values.get("variants") or {e.name: _under_its_fusion(e.name) for e in methods}
        named = [v.get("method", {}).get("name", "joint") for v in given.values() if isinstance(v, dict)]
        added = {name: _under_its_fusion(name) for name in BASELINES if name not in named}
        return {**values, "variants": {**added, **given}}

    def only(self, names: Sequence[str]) -> Study:
        """The study of some of its data sets, of all where there are no ``names``; raises UsageError for an unknown one."""
        for name in names:
            if name not in self.data:
                raise UsageError(f"The study has no data set '{name}'.", f"It has: {', '.join(self.data)}.")
        return self.model_copy(update={"data": {name: self.data[name] for name in names or self.data}})


def _under_its_fusion(method: str) -> dict[str, Any]:
    fusion = methods.entry(method).about.fusion
    return {"method": {"name": method}, **({"fusion": {"name": fusion}} if fusion else {})}


@dataclass(frozen=True)
class Part:
    """One of several parts of a study, which commands side by side train in one folder; ``number`` counts from 1."""

    number: int
    parts: int

    @classmethod
    def of(cls, text: str) -> Part:
        """From ``I/N``; raises UsageError where it is no part."""
        number, slash, parts = text.partition("/")
        if not slash or not number.isdecimal() or not parts.isdecimal() or not 1 <= int(number) <= int(parts):
            raise UsageError(f"--part {text} is no part.", "Give I/N with I from 1 to N, such as --part 2/8.")
        return cls(int(number), int(parts))

    def take(self, items: Sequence[T]) -> list[T]:
        """Every N-th of the items, from the I-th on."""
        return list(items[self.number - 1 :: self.parts])


@dataclass(frozen=True)
class Job:
    """One run of a study, and the folder where it is or will be; ``params`` are what a search chose."""

    data: str
    variant: str
    config: TrainConfig
    folder: Path
    params: Mapping[str, Any]


def read_study(path: Path) -> Study:
    """A study from YAML; paths of stores are relative to the current directory. Raises ConfigError or UsageError."""
    return validate(Study, read_yaml(path), str(path))


def jobs(study: Study, out: Path, chosen: Chosen | None = None) -> Iterator[Job]:
    """All runs of a study, seed by seed, so that an interrupted study has whole rows; raises ConfigError for any bad key."""
    for seed in study.seeds:
        for name in study.data:
            for variant in study.variants:
                params = (chosen or {}).get((name, variant), {})
                yield job_of(study, name, variant, seed, params, out / name / f"{variant}-s{seed}")


def job_of(study: Study, name: str, variant: str, seed: int, params: Mapping[str, Any], folder: Path) -> Job:
    """The run of a variant on a data set, with ``params`` on top; raises ConfigError for any bad key."""
    values = merge({"method": {"name": "joint"}}, study.base)
    values = merge(merge(values, study.data[name]), study.variants[variant])
    for key, value in params.items():
        *groups, last = key.split(".")
        nested: dict[str, Any] = {last: value}
        for group in reversed(groups):
            nested = {group: nested}
        values = merge(values, nested)
    config = validate(TrainConfig, override(values, [f"seed={seed}"]), f"{name}, {variant}")
    return Job(name, variant, config, folder, params)


def count(study: Study) -> int:
    """The number of trainings of a study, trials included."""
    each = len(study.seeds) + (study.search.trials if study.search else 0)
    return each * len(study.data) * len(study.variants)


def check(job: Job) -> None:
    """Set a run up as training does, without training it or writing anything; an error names the variant."""
    try:
        Session(job.config).method.stages(job.config.epochs)
    except MmbalError as error:
        raise type(error)(f"{job.data}, {job.variant}: {error.message}", error.hint) from None


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` on top; mappings are merged, unless they name another choice."""
    result = dict(base)
    for key, value in changes.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, dict) and value.get("name") in (None, inner.get("name")):
            value = merge(inner, value)
        result[key] = value
    return result
