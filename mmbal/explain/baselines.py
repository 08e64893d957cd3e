"""What "absent" means: what stands in for a modality that the model is not to see.

================ ============================================================================================
baseline         what the model gets in place of an absent modality
================ ============================================================================================
``zero``         zeros, empty texts, black pictures
``mean``         the mean value, the mean picture, the most frequent category
``missing``      NaN, or None in lists: for models that take missing values
``shuffled``     the modality of another sample, several draws
``conditional``  the modality of the samples that are nearest in the modalities that are there
``diffusion``    features drawn by the diffusion model of :mod:`mmbal.models.imputer`, given those that are there
``mask``         nothing is replaced: ``predict(batch, present)`` is told the names of the modalities to use
a mapping        modality -> ``zero``, ``mean`` or ``missing``
a function       ``function(batch, absent)`` of the user's, which gives the batch without the modalities ``absent``
================ ============================================================================================

Of several draws the probabilities are averaged: the model's expectation over what the modality could have been. What
stands in comes from samples outside the test split where there are such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.explain import columns
from mmbal.explain.columns import Column
from mmbal.explain.inputs import Inputs
from mmbal.predictions.columns import Array

CONSTANT = ("zero", "mean", "missing")
NAMES = (*CONSTANT, "shuffled", "conditional", "diffusion", "mask")
DRAWS = 5
MOST_DIMENSIONS = 64  # of a modality's vectors among which neighbours are looked for; more are projected first

Baseline = str | Callable[..., Any] | Mapping[str, str]
Batch = dict[str, Column]


@dataclass
class StandIn:
    """A baseline at work; ``draws`` batches are asked for and averaged. This one replaces nothing: ``mask``."""

    inputs: Inputs
    name: str = "mask"
    draws: int = 1

    def fill(self, batch: Batch, rows: Array, absent: tuple[str, ...], draw: int) -> Batch:
        """The batch of ``rows`` with the columns of the modalities ``absent`` replaced."""
        return batch

    def told(self, absent: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """What the model is told beside the batch: a model with a mask of its own the modalities to use."""
        return (tuple(m for m in self.inputs.names if m not in absent),) if self.name == "mask" else ()


@dataclass
class Own(StandIn):
    """A function of the user's."""

    function: Callable[[Any, tuple[str, ...]], Any] = field(kw_only=True)

    def fill(self, batch: Batch, rows: Array, absent: tuple[str, ...], draw: int) -> Batch:
        source = self.inputs.source
        return source.read(self.function(source.batch(batch), absent)) if absent else batch


@dataclass
class Constant(StandIn):
    """The same in every sample: zeros, the mean, or nothing."""

    pool: Array = field(kw_only=True)
    kinds: Mapping[str, str] = field(kw_only=True)  # by modality
    means: dict[str, Any] = field(default_factory=dict, kw_only=True)

    def fill(self, batch: Batch, rows: Array, absent: tuple[str, ...], draw: int) -> Batch:
        found = dict(batch)
        for m in absent:
            for name in self.inputs.modalities[m]:
                found[name] = self._column(batch[name], name, self.kinds[m])
        return found

    def _column(self, values: Column, name: str, kind: str) -> Column:
        if kind == "zero":
            return columns.zeros(values, name)
        if kind == "missing":
            return columns.missing(values, name)
        if name not in self.means:
            self.means[name] = columns.mean(columns.take(self.inputs.source.whole(name), self.pool), name)
        return columns.filled(values, self.means[name])


@dataclass
class Shuffled(StandIn):
    """Another sample's; the same one for all absent modalities, and in all coalitions of a draw."""

    pool: Array = field(kw_only=True)
    seed: int = field(default=0, kw_only=True)
    drawn: list[Array] = field(default_factory=list, kw_only=True)

    def fill(self, batch: Batch, rows: Array, absent: tuple[str, ...], draw: int) -> Batch:
        return batch | self.inputs.source.take(self.donors(rows, absent, draw), self.inputs.columns_of(absent))

    def donors(self, rows: Array, absent: tuple[str, ...], draw: int) -> Array:
        """The sample ``(B,)`` that each row's absent modalities are taken from."""
        while len(self.drawn) <= draw:
            found = others(self.pool, len(self.inputs), np.random.default_rng([self.seed, len(self.drawn)]))
            self.drawn.append(found)
        return self.drawn[draw][rows]


def others(pool: Array, n: int, rng: np.random.Generator) -> Array:
    """For each of ``n`` rows a member of ``pool`` that is not the row itself."""
    if len(pool) < 2:
        raise DataError("Fewer than two samples can't stand in for one another.", "Take the baseline 'zero' or 'mean'.")
    place = np.full(n, -1)
    place[pool] = np.arange(len(pool))
    drawn = rng.integers(0, len(pool) - (place >= 0))  # of the members but the row itself
    return pool[drawn + ((place >= 0) & (drawn >= place))]


@dataclass
class Conditional(Shuffled):
    """The samples that are nearest in the modalities that are there; without any modality, any sample."""

    vectors: Mapping[str, Array] = field(kw_only=True)
    nearest: dict[tuple[str, ...], Array] = field(default_factory=dict, kw_only=True)

    def donors(self, rows: Array, absent: tuple[str, ...], draw: int) -> Array:
        there = tuple(m for m in self.inputs.names if m not in absent)
        if not there:
            return super().donors(rows, absent, draw)
        if there not in self.nearest:
            self.nearest[there] = self._neighbours(np.concatenate([self.vectors[m] for m in there], axis=1))
        return self.nearest[there][rows, draw]

    def _neighbours(self, table: Array) -> Array:
        """The ``draws`` nearest members of the pool but the row itself: ``(N, draws)``, nearest first."""
        from sklearn.neighbors import NearestNeighbors

        if len(self.pool) <= self.draws:
            raise DataError(f"{len(self.pool)} samples are too few for {self.draws} neighbours.", "Give draws=1.")
        fitted = NearestNeighbors(n_neighbors=self.draws + 1).fit(table[self.pool])
        found = self.pool[fitted.kneighbors(table, return_distance=False)]
        itself = found == np.arange(len(table))[:, None]
        itself[~itself.any(axis=1), -1] = True  # where the row is not among them the farthest one is left out
        return found[~itself].reshape(len(table), self.draws)


def scaled(inputs: Inputs, features: Mapping[str, Any], pool: Array) -> dict[str, Array]:
    """Vectors ``(N, D)`` of each modality in which neighbours are looked for, each modality with the same total variance.

    ``features`` are the user's, by modality; a modality of numbers stands for itself. Raises DataError where a modality
    has neither.
    """
    from sklearn.decomposition import PCA

    found = {}
    for m, names in inputs.modalities.items():
        own = [features[m]] if m in features else [inputs.source.whole(name) for name in names]
        parts = [columns.vectors(values) for values in own]
        if any(part is None for part in parts):
            raise DataError(
                f"'{m}' holds no numbers, so nothing says which samples are near one another in it.",
                f"Give vectors (N, D) with features={{'{m}': ...}}, or take the baseline 'shuffled'.",
            )
        table: Array = np.nan_to_num(np.concatenate(parts, axis=1))  # type: ignore[arg-type]
        table = (table - table[pool].mean(axis=0)) / np.maximum(table[pool].std(axis=0), 1e-12)
        width = min(MOST_DIMENSIONS, len(pool) - 1)
        if table.shape[1] > width:
            table = PCA(width, random_state=0).fit(table[pool]).transform(table)
        found[m] = table / np.sqrt(max(table[pool].var(axis=0).sum(), 1e-12))
    return found


@dataclass
class Diffusion(StandIn):
    """Draws of the feature diffusion model, learnt from the pool; each modality is one table of numbers ``(N, D)``."""

    pool: Array = field(kw_only=True)
    seed: int = field(default=0, kw_only=True)
    model: Any = field(default=None, kw_only=True)

    def fill(self, batch: Batch, rows: Array, absent: tuple[str, ...], draw: int) -> Batch:
        import torch

        names = {m: own[0] for m, own in self.inputs.modalities.items()}
        with torch.random.fork_rng(devices=[]):
            if self.model is None:
                torch.manual_seed(self.seed)
                self.model = self._fitted(names)
            torch.manual_seed((self.seed * 1_000_003 + draw) * 1_000_003 + int(rows[0]))
            given = {m: torch.as_tensor(batch[name]).float() for m, name in names.items()}
            hidden = torch.tensor([m in absent for m in self.model.names]).expand(len(rows), -1)
            drawn = self.model.sample(given, hidden)
        found = dict(batch)
        for m in absent:
            own = batch[names[m]]
            found[names[m]] = drawn[m].to(own) if columns.is_tensor(own) else drawn[m].numpy().astype(own.dtype)
        return found

    def _fitted(self, names: Mapping[str, str]) -> Any:
        import torch

        from mmbal.models.imputer import FeatureDiffusion

        tables = {}
        for m, name in names.items():
            whole = self.inputs.source.whole(name)
            table = None if columns.is_series(whole) or isinstance(whole, list) else whole
            if len(self.inputs.modalities[m]) > 1 or table is None or table.ndim != 2:
                raise DataError(
                    f"'{m}' is not one table of numbers (N, D), which the diffusion model needs.",
                    "Take the baseline 'conditional', or 'shuffled'.",
                )
            tables[m] = torch.as_tensor(table).float()
        model = FeatureDiffusion({m: table.shape[1] for m, table in tables.items()})
        with torch.enable_grad():  # the model of the user is asked without gradients; this one learns
            model.fit({m: table[torch.as_tensor(self.pool)] for m, table in tables.items()})
        return model


def stand_ins(
    given: Baseline | Sequence[Baseline],
    inputs: Inputs,
    pool: Array,
    *,
    draws: int = DRAWS,
    features: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[StandIn]:
    """The baselines that ``given`` names, one or several; ``pool``: the samples that may stand in for others.

    Raises UsageError for an unknown name or the same one twice.
    """
    wanted: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    if not wanted or draws < 1:
        raise UsageError("explain needs a baseline and at least one draw.", f"Baselines: {', '.join(NAMES)}.")
    found = [_stand_in(one, inputs, pool, draws, features or {}, seed) for one in wanted]
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"The baseline '{twice}' is given twice.")
    return found


def check_name(given: str) -> None:
    """Raise UsageError with the nearest names where there is no baseline ``given``."""
    if given not in NAMES:
        raise UsageError(f"There is no baseline '{given}'.", did_you_mean(given, NAMES))


def _stand_in(
    given: Baseline, inputs: Inputs, pool: Array, draws: int, features: Mapping[str, Any], seed: int
) -> StandIn:
    if isinstance(given, Mapping):
        for m in inputs.names:
            if given.get(m) not in CONSTANT:
                raise UsageError(
                    f"The baseline of '{m}' is {given.get(m)!r}.",
                    f"Give one of {', '.join(CONSTANT)} for each modality.",
                )
        name = ", ".join(f"{given[m]} {m}" for m in inputs.names)
        return Constant(inputs, name, pool=pool, kinds=given)
    if callable(given):
        return Own(inputs, getattr(given, "__name__", "own"), function=given)
    if given in CONSTANT:
        return Constant(inputs, given, pool=pool, kinds=dict.fromkeys(inputs.names, given))
    if given == "shuffled":
        return Shuffled(inputs, given, draws, pool=pool, seed=seed)
    if given == "conditional":
        return Conditional(inputs, given, draws, pool=pool, seed=seed, vectors=scaled(inputs, features, pool))
    if given == "diffusion":
        return Diffusion(inputs, given, draws, pool=pool, seed=seed)
    check_name(str(given))
    return StandIn(inputs)  # mask
