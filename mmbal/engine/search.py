"""The search of a sweep: what is varied, in which range, and what is tried next.

Every variant gets the same number of trials. Trial 0 has the study's own values, so tuning never starts behind them. A
method's own numbers are searched from a quarter of the default to four times it, within the bounds of its page; numbers
whose default is zero or unset, and options that choose a form, keep their defaults unless the study names them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from mmbal.config import Config
from mmbal.engine.results import Record, Select
from mmbal.errors import ConfigError

SPREAD = 4.0  # from a default, in both directions


class Range(Config):
    """Numbers from ``low`` to ``high``."""

    low: float
    high: float
    log: bool = Field(False, description="draw evenly on a logarithmic scale")
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 where log is set")
        return self

    def at(self, share: float) -> float | int:
        """The number at a share in [0, 1] of the range, to four digits, and never outside of it."""
        value = self.low * (self.high / self.low) ** share if self.log else self.low + share * (self.high - self.low)
        if self.integer:
            return min(max(round(value), round(self.low)), round(self.high))
        return min(max(float(f"{value:.4g}"), self.low), self.high)


Dimension = Range | tuple[Any, ...]  # a range, or the values to choose from
COMMON: dict[str, Dimension] = {"optimiser.lr": Range(low=0.002, high=0.2, log=True)}


class Search(Config):
    """How each variant of a study is tuned on the validation split, before the runs of the study."""

    trials: int = Field(8, ge=1, description="of each variant on each data set, trial 0 with the study's own values")
    sampler: Literal["random", "tpe"] = Field("random", description="random, or Optuna's TPE with pruning")
    select: Select = Field("accuracy", description="validation accuracy, or NLL after temperature scaling")
    seed: int = Field(1000, ge=0, description="of the trials; the runs of the study have seeds of their own")
    space: dict[str, Dimension] = Field(COMMON, description="keys of the configuration that every variant is tuned in")
    own: bool = Field(True, description="tune each method's own numbers too, within the bounds of its page")
    by_variant: dict[str, dict[str, Dimension | None]] = Field({}, description="further keys; null leaves one out")


def method_space(config: type[BaseModel]) -> dict[str, Range]:
    """The numbers of a method's configuration that a search varies, and their ranges."""
    found = {}
    for key, field in config.model_fields.items():
        default = field.default
        if isinstance(default, (int, float)) and not isinstance(default, bool) and default > 0:
            low, high = _bounds(field)
            low, high = max(low, default / SPREAD), min(high, default * SPREAD)
            integer = isinstance(default, int)
            if integer:
                low, high = float(np.ceil(low)), float(np.floor(high))
            if low < high:
                found[key] = Range(low=low, high=high, log=True, integer=integer)
    return found


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """The bounds of a field; one that is not itself allowed is moved in by a millionth."""
    low, high = -np.inf, np.inf
    for b in field.metadata:
        low = max(low, getattr(b, "ge", -np.inf), getattr(b, "gt", -np.inf) + 1e-6)
        high = min(high, getattr(b, "le", np.inf), getattr(b, "lt", np.inf) - 1e-6)
    return float(low), float(high)


def space_of(search: Search, variant: str, method: type[BaseModel]) -> dict[str, Dimension]:
    """The whole space of a variant, by key of the configuration."""
    own = {f"method.{key}": part for key, part in method_space(method).items()} if search.own else {}
    every = {**search.space, **own, **search.by_variant.get(variant, {})}
    return {key: part for key, part in every.items() if part is not None}


def propose(search: Search, name: str, space: Mapping[str, Dimension], number: int) -> dict[str, Any]:
    """What random search tries in a trial: a function of the search's seed, ``name`` and the trial's number alone."""
    if number == 0:
        return {}
    random = np.random.default_rng([search.seed, zlib.crc32(name.encode()), number])
    shares = dict(zip(sorted(space), random.random(len(space)).tolist(), strict=True))
    return {
        key: part.at(shares[key]) if isinstance(part, Range) else _item(part, shares[key])
        for key, part in space.items()
    }


def _item(values: Sequence[Any], share: float) -> Any:
    return values[int(share * len(values))]


def optuna_trial(search: Search, name: str, space: Mapping[str, Dimension], done: Sequence[Record]) -> Any:
    """Optuna's next trial after those that are ``done``, in their order; raises ConfigError where Optuna is missing.

    The study is made anew for each trial, with a seed of its own, so a sweep that goes on proposes what it would have.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "search.sampler 'tpe' needs the package optuna.", "Install it: pip install 'mmbal[optuna]'."
        ) from None
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

    def distribution(part: Dimension) -> BaseDistribution:
        if not isinstance(part, Range):
            return CategoricalDistribution(part)
        if part.integer:
            return IntDistribution(round(part.low), round(part.high), log=part.log)
        return FloatDistribution(part.low, part.high, log=part.log)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    few = max(2, search.trials // 4)  # random trials, before TPE chooses and before any is pruned
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=zlib.crc32(f"{search.seed} {name} {len(done)}".encode()), n_startup_trials=few
        ),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=few),
    )
    distributions = {key: distribution(part) for key, part in space.items()}
    state = {"pruned": optuna.trial.TrialState.PRUNED, "diverged": optuna.trial.TrialState.FAIL}
    for record in done:
        ended = state.get(record.status, optuna.trial.TrialState.COMPLETE)
        study.add_trial(
            optuna.trial.create_trial(
                params=record.params,
                distributions={key: distributions[key] for key in record.params},
                value=record.value(search.select) if ended == optuna.trial.TrialState.COMPLETE else None,
                intermediate_values=dict(enumerate(curve_of(record, search.select))),
                state=ended,
            )
        )
    return study.ask(distributions)


def curve_of(record: Record, select: Select) -> list[float]:
    """The validation figure of each epoch, larger is better."""
    return [epoch["accuracy"] if select == "accuracy" else -epoch["nll"] for epoch in record.curve]


def best_of(search: Search, done: Sequence[Record]) -> Record | None:
    """The trial that is best on validation; ties go to the lower calibrated NLL, then to the earlier. None if all failed."""
    whole = [record for record in done if record.status in ("converged", "still improving")]
    return max(
        whole, key=lambda r: (r.value(search.select), -r.figures["val"]["calibrated_nll"], -r.number), default=None
    )
