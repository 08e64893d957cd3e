"""The hinge of mmbal: what a multimodal model decided, in one .npz that any framework can write.

====================== ==================================================================================
key                    meaning (only ``labels`` and one ``logits_<m>`` or ``probabilities_<m>`` are needed)
====================== ==================================================================================
``labels (N,)``        class index, or class name
``classes (C,)``       class names in the order of the columns
``ids (N,)``           sample identifiers, for pairing files
``split (N,)``         ``calibration`` (or ``val``), ``test``, ...; all ``test`` where absent
``group (N,)``         speaker, actor, patient...: bootstraps and cross-fitting keep a group together
``modalities (M,)``    order of the modalities; else that of the keys
``logits_<m> (N,C)``   decision of modality m alone; ``probabilities_<m>`` is accepted in its place
``contribution_<m>``   (N,C) its part of the fused logits, where the parts sum to ``fused``
``fused (N,C)``        the model's decision as it is
``subset_<a>+<b>``     (N,C) fused logits with only these modalities given; ``subset_`` alone is none of them
``features_<m> (N,D)`` what the encoder of m gives to the fusion
``weight_<m> (C,D)``   the linear decision weights of m
``bias (C,)``          the head's bias
``present_<m> (N,)``   false where the sample lacks the modality
``meta``               JSON text: producer, dataset, seed, method, fusion...
====================== ==================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.errors import DataError, UsageError
from mmbal.files import read_npz, write_npz

PROBABILITY_FLOOR = 1e-12  # log of a probability of zero is not a number a rule can weigh

Array = np.ndarray


@dataclass(frozen=True)
class Predictions:
    """Decisions of N samples, C classes, M modalities; see the module's table for each field's shape.

    Build with :meth:`from_arrays` or :meth:`load`, which check every array. A field that the producer did not give
    is an empty dict or None: what needs it is reported as not computable, never guessed.
    """

    labels: Array
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    logits: dict[str, Array]
    ids: Array
    split: Array
    group: Array | None = None
    fused: Array | None = None
    contribution: dict[str, Array] = field(default_factory=dict)
    subsets: dict[tuple[str, ...], Array] = field(default_factory=dict)
    features: dict[str, Array] = field(default_factory=dict)
    weight: dict[str, Array] = field(default_factory=dict)
    bias: Array | None = None
    present: dict[str, Array] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    unruled: Predictions | None = None  # the same rows as the model decided them, where a fitted rule made ``fused``

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def missing(self) -> bool:
        """Whether any sample lacks a modality."""
        return any(not mask.all() for mask in self.present.values())

    def present_mask(self) -> Array:
        """``(N, M)`` bool, true where the sample has the modality."""
        return np.stack([self.present.get(m, np.ones(len(self), dtype=bool)) for m in self.modalities], axis=1)

    def splits(self) -> dict[str, int]:
        """Split name -> number of rows, in order of appearance."""
        return {str(s): int((self.split == s).sum()) for s in dict.fromkeys(self.split.tolist())}

    def select(self, split: str) -> Predictions:
        """The rows of one split; ``calibration`` means ``val`` where a file has no split of that name.

        Raises UsageError where the split has no rows.
        """
        have = self.splits()
        name = "val" if split == "calibration" and split not in have and "val" in have else split
        if name not in have:
            raise UsageError(f"The predictions have no split '{split}'.", f"They have: {', '.join(have)}.")
        return self.take(np.flatnonzero(self.split == name))

    def take(self, rows: Array) -> Predictions:
        """The given rows (indices or mask), in that order; repeats are allowed (bootstrap)."""

        def pick(arrays: Mapping[Any, Array]) -> dict[Any, Array]:
            return {key: value[rows] for key, value in arrays.items()}

        return replace(
            self,
            labels=self.labels[rows],
            ids=self.ids[rows],
            split=self.split[rows],
            group=None if self.group is None else self.group[rows],
            fused=None if self.fused is None else self.fused[rows],
            logits=pick(self.logits),
            contribution=pick(self.contribution),
            subsets=pick(self.subsets),
            features=pick(self.features),
            present=pick(self.present),
            unruled=None if self.unruled is None else self.unruled.take(rows),
        )

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read a predictions file; raises UsageError (no file) or DataError (what is wrong, with the key)."""
        path = Path(path)
        arrays = read_npz(path)
        try:
            return cls.from_arrays(arrays)
        except DataError as error:
            raise DataError(f"{path}: {error.message}", error.hint) from None

    def save(self, path: str | Path) -> None:
        """Write the predictions as float32 arrays, atomically."""
        arrays: dict[str, Array] = {
            "labels": self.labels,
            "classes": np.array(self.classes, dtype=str),
            "modalities": np.array(self.modalities, dtype=str),
            "ids": self.ids,
            "split": self.split,
            "meta": np.array(json.dumps(self.meta)),
        }
        for key, value in (("group", self.group), ("fused", self.fused), ("bias", self.bias)):
            if value is not None:
                arrays[key] = value
        for prefix in ("logits", "contribution", "features", "weight", "present"):
            arrays |= {f"{prefix}_{m}": value for m, value in getattr(self, prefix).items()}
        arrays |= {"subset_" + "+".join(names): value for names, value in self.subsets.items()}
        write_npz(Path(path), {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in arrays.items()})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Predictions:
        """Check a mapping of arrays (keys as in the module's table) and take it; raises DataError naming the key."""
        given = {key: np.asarray(value) for key, value in arrays.items()}
        for key, value in given.items():
            if value.dtype == object:
                raise DataError(f"'{key}' holds Python objects.", "Give plain arrays of numbers or text.")
        if "labels" not in given:
            raise DataError("There is no array 'labels'.", "Needed are labels (N,) and logits_<modality> (N, C).")
        modalities = _modalities(given)
        votes = {m: _votes(given, m) for m in modalities}
        n, c = next(iter(votes.values())).shape
        present = {
            m: _rows(given[f"present_{m}"], n, f"present_{m}").astype(bool)
            for m in modalities
            if f"present_{m}" in given
        }
        labels, classes = _labels(given, n, c)

        def matrix(key: str, columns: int | None, absent_of: str | None = None) -> Array:
            value = given[key] if key in given else votes[key.removeprefix("logits_")]
            if value.ndim != 2 or value.shape[0] != n or (columns is not None and value.shape[1] != columns):
                raise DataError(f"'{key}' has shape {value.shape}, expected ({n}, {columns if columns else 'D'}).")
            return _finite(value, key, present.get(absent_of) if absent_of else None)

        taken = {f"logits_{m}": matrix(f"logits_{m}", c, m) for m in modalities}
        weight: dict[str, Array] = {}
        for m in modalities:
            if f"weight_{m}" in given:
                value = _finite(given[f"weight_{m}"], f"weight_{m}")
                width = given[f"features_{m}"].shape[-1] if f"features_{m}" in given else None
                if value.ndim != 2 or len(value) != c or (width is not None and value.shape[1] != width):
                    raise DataError(f"'weight_{m}' has shape {value.shape}, expected ({c}, {width or 'D'}).")
                weight[m] = value
        fused = matrix("fused", c) if "fused" in given else None
        contribution = {m: matrix(f"contribution_{m}", c, m) for m in modalities if f"contribution_{m}" in given}
        if contribution and fused is not None and len(contribution) == len(modalities):
            gap = np.abs(sum(contribution.values()) - fused).max() / max(1.0, np.abs(fused).max())
            if gap > 1e-2:
                raise DataError(
                    f"The contributions do not sum to 'fused' (relative gap {gap:.2g}).",
                    "A contribution is a modality's additive part of the fused logits; leave the keys out otherwise.",
                )
        return cls(
            labels=labels,
            classes=classes,
            modalities=modalities,
            logits={m: taken[f"logits_{m}"] for m in modalities},
            ids=_rows(given["ids"], n, "ids").astype(str) if "ids" in given else np.arange(n).astype(str),
            split=_rows(given["split"], n, "split").astype(str) if "split" in given else np.full(n, "test"),
            group=_rows(given["group"], n, "group").astype(str) if "group" in given else None,
            fused=fused,
            contribution=contribution,
            subsets={names: matrix(key, c) for names, key in _subset_keys(given, modalities).items()},
            features={m: matrix(f"features_{m}", None, m) for m in modalities if f"features_{m}" in given},
            weight=weight,
            bias=_finite(_rows(given["bias"], c, "bias"), "bias") if "bias" in given else None,
            present=present,
            meta=_meta(given),
        )


def concatenate(parts: list[Predictions]) -> Predictions:
    """Rows of several predictions of the same model and modalities, one after the other."""
    first = parts[0]

    def join(name: str) -> dict[Any, Array]:
        keys = [k for k in getattr(first, name) if all(k in getattr(p, name) for p in parts)]
        return {k: np.concatenate([getattr(p, name)[k] for p in parts]) for k in keys}

    def stack(name: str) -> Any:
        values = [getattr(p, name) for p in parts]
        return None if any(v is None for v in values) else np.concatenate(values)

    present = {
        m: np.concatenate([p.present.get(m, np.ones(len(p), dtype=bool)) for p in parts])
        for m in first.modalities
        if any(m in p.present for p in parts)
    }
    rows: dict[str, Any] = {name: stack(name) for name in ("labels", "ids", "split", "group", "fused")}
    maps: dict[str, Any] = {name: join(name) for name in ("logits", "contribution", "subsets", "features")}
    ruled = any(p.unruled is not None for p in parts)
    unruled = concatenate([p.unruled or p for p in parts]) if ruled else None
    return replace(first, **rows, **maps, present=present, unruled=unruled)


def subsets_of(modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All subsets, smallest first, members in the order given: the coalitions of the Shapley values."""
    return [names for size in range(len(modalities) + 1) for names in combinations(modalities, size)]


def _modalities(given: Mapping[str, Array]) -> tuple[str, ...]:
    found = [k.split("_", 1)[1] for k in given if k.startswith(("logits_", "probabilities_"))]
    found = list(dict.fromkeys(found))
    if "modalities" in given:
        names = [str(m) for m in np.atleast_1d(given["modalities"])]
        lacking = [m for m in names if m not in found]
        if lacking:
            raise DataError(f"'modalities' names '{lacking[0]}', but there is no array 'logits_{lacking[0]}'.")
        found = names
    if not found:
        raise DataError("There is no array 'logits_<modality>' or 'probabilities_<modality>'.")
    return tuple(found)


def _votes(given: Mapping[str, Array], m: str) -> Array:
    key = f"logits_{m}" if f"logits_{m}" in given else f"probabilities_{m}"
    value = given[key]
    if value.ndim != 2 or value.dtype.kind not in "fiu":
        raise DataError(f"'{key}' has shape {value.shape} and type {value.dtype}, expected numbers (N, C).")
    if key.startswith("probabilities_"):
        if not np.isnan(value).any() and (value < 0).any():
            raise DataError(f"'{key}' holds negative values, so they are no probabilities.")
        return np.log(np.maximum(value.astype(np.float64), PROBABILITY_FLOOR))
    return value


def _finite(value: Array, key: str, present: Array | None = None) -> Array:
    if value.dtype.kind not in "fiu":
        raise DataError(f"'{key}' has type {value.dtype}, expected numbers.")
    value = value.astype(np.float64)
    if present is not None:  # where the modality is missing anything may stand
        value[~present] = np.nan_to_num(value[~present], nan=0.0, posinf=0.0, neginf=0.0)
    bad = ~np.isfinite(value)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        kind = "NaN" if np.isnan(value[bad]).any() else "infinity"
        raise DataError(
            f"'{key}' holds {kind} in {int(bad.reshape(len(bad), -1).any(axis=1).sum())} rows (first: row {row}).",
            "Mark missing modalities with present_<modality>; give the logarithm of a small number, not of zero.",
        )
    return value


def _rows(value: Array, n: int, key: str) -> Array:
    if value.shape != (n,):
        raise DataError(f"'{key}' has shape {value.shape}, expected ({n},).")
    return value


def _labels(given: Mapping[str, Array], n: int, c: int) -> tuple[Array, tuple[str, ...]]:
    labels = _rows(given["labels"], n, "labels")
    named = labels.dtype.kind in "US"
    if "classes" in given:
        classes = tuple(str(x) for x in _rows(given["classes"], c, "classes"))
    elif named:
        classes = tuple(sorted({str(x) for x in labels}))
        if len(classes) != c:
            raise DataError(f"'labels' holds {len(classes)} names, but the logits have {c} columns.", "Give 'classes'.")
    else:
        classes = tuple(str(i) for i in range(c))
    if named:
        index = {name: i for i, name in enumerate(classes)}
        unknown = [x for x in labels.astype(str).tolist() if x not in index]
        if unknown:
            raise DataError(f"'labels' holds '{unknown[0]}', which is not among the classes.")
        return np.array([index[x] for x in labels.astype(str).tolist()], dtype=np.int64), classes
    if labels.dtype.kind == "f" and (labels != np.round(labels)).any():
        raise DataError("'labels' holds fractions or NaN; expected class indices or class names.")
    if n and (labels.min() < 0 or labels.max() >= c):
        raise DataError(f"'labels' ranges from {labels.min()} to {labels.max()}, but there are {c} classes.")
    return labels.astype(np.int64), classes


def _subset_keys(given: Mapping[str, Array], modalities: tuple[str, ...]) -> dict[tuple[str, ...], str]:
    keys: dict[tuple[str, ...], str] = {}
    for key in given:
        if key.startswith("subset_"):
            members = {name for name in key.removeprefix("subset_").split("+") if name}
            if not members <= set(modalities):
                raise DataError(f"'{key}' names a modality that has no logits.")
            keys[tuple(m for m in modalities if m in members)] = key
    return keys


def _meta(given: Mapping[str, Array]) -> dict[str, Any]:
    if "meta" not in given:
        return {}
    try:
        meta = json.loads(str(given["meta"]))
    except json.JSONDecodeError:
        raise DataError("'meta' is not JSON text.") from None
    if not isinstance(meta, dict):
        raise DataError("'meta' is not a JSON object.")
    return meta
