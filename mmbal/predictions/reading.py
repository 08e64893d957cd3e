"""Reads the arrays of a predictions file: whether they fit each other, and what their numbers are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmbal.errors import DataError
from mmbal.files import parse_json
from mmbal.predictions.columns import Array, mask, numbers, plain, rows, texts
from mmbal.predictions.labels import UNLABELLED, Labels, class_names, labels_of
from mmbal.predictions.names import SEGMENT, Names
from mmbal.predictions.score_tables import ScoreTables
from mmbal.predictions.splits import EVALUATION, split_names

ESTIMATES = 4  # columns of shapley_<m>: two values and their standard errors
SCHEMA_VERSION = 1  # of a predictions file, in its meta; files without it are of version 1
SUM_GAP = 1e-2  # by which contributions may miss ``fused``, relative to its largest entry


class Reader:
    """Reads a mapping of arrays once: every key is known, every array fits the others, and what was done is noted."""

    def __init__(
        self, arrays: Mapping[str, Any], meta: Mapping[str, Any] | None = None, unlabelled: bool = False
    ) -> None:
        """``unlabelled``: whether the labels may be missing."""
        self.given = {str(key): plain(value, str(key)) for key, value in arrays.items() if key != "meta"}
        self.meta = {**(_meta(arrays["meta"]) if "meta" in arrays else {}), **(meta or {})}
        version = self.meta.pop("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            raise DataError(
                f"These predictions have the schema version {version}; this mmbal reads {SCHEMA_VERSION}.",
                "Use the mmbal that wrote them, or a newer one.",
            )
        self.notes: list[str] = []
        self.names = Names(self.given, unlabelled)
        self.column, self.modalities = self.names.column, self.names.modalities
        self.labelled = "labels" in self.column
        self.n, width = self._count()
        self.present = {
            m: mask(self.given[key], self.n, key) for m in self.modalities if (key := f"present_{m}") in self.given
        }
        self._take_missing()
        many = self.labelled and len(np.unique(self.given[self.column["labels"]])) > 2
        # an import has told the form of the scores before
        self.tables = ScoreTables(self.given, self.n, width, self.present, many, "scores" in self.meta, self.notes)

    def fields(self) -> dict[str, Any]:
        """All of it, checked: the fields of Predictions."""
        given, names = self.given, self.names
        alone = {m: self.tables.alone(key, m) for m in self.modalities if (key := names.alone(m))}
        if not alone:
            alone = {m: self.tables.scores(names.subsets[(m,)], None, m) for m in self.modalities[:1]}
        c = next(iter(alone.values())).shape[1]
        for m, value in alone.items():
            self.tables.fits(value, self.names.alone(m) or f"subset_{m}", c)
        found = self._labels(c)
        self.notes += found.notes
        parts = {
            m: self.tables.scores(f"contribution_{m}", c, m) for m in self.modalities if f"contribution_{m}" in given
        }
        fused = self.tables.scores("fused", c) if "fused" in given else None
        fused = self._sum_checked(parts, fused)
        subsets = {members: self.tables.scores(key, c) for members, key in names.subsets.items()}
        nothing = subsets.get((), np.zeros((self.n, c)))
        stand_ins = [m for m in self.modalities if not self.names.alone(m)]
        alone |= {m: subsets[(m,)] - nothing for m in stand_ins}
        if stand_ins:
            less = " less 'subset_'" if () in subsets else ""
            self.notes.append(
                f"there is no decision of {_and(stand_ins)} alone: the fused logits with this modality alone ('subset_"
                f"{stand_ins[0]}'{less}) stand for it"
            )
        return {
            "labels": found.index,
            "labelled": self.labelled,
            "classes": found.classes,
            "modalities": self.modalities,
            "logits": {m: alone[m] for m in self.modalities},
            "ids": texts(self._rows("ids")) if "ids" in self.column else np.arange(self.n).astype(str),
            "split": self._split(),
            "group": self._group(),
            "fused": fused,
            "contribution": parts,
            "subsets": subsets,
            "shapley": self._estimated(),
            "segments": self._segments(),
            "weights": {m: self._sample_weights(f"weights_{m}", m) for m in self.names.having("weights")},
            "exchanged": self.tables.scores("exchanged", c) if "exchanged" in given else None,
            "features": {m: self.tables.matrix(f"features_{m}", None, m) for m in self.names.having("features")},
            "weight": self._weights(c),
            "bias": self.tables.finite(rows(numbers(given["bias"], "bias"), c, "bias"), "bias")
            if "bias" in given
            else None,
            "present": self.present,
            "meta": self.meta,
            "warnings": tuple(self.notes),
        }

    def _labels(self, c: int) -> Labels:
        """The labels and the classes; without labels each index is -1."""
        classes = self._classes(c)
        if self.labelled:
            return labels_of(self.given[self.column["labels"]], classes, c, self.column["labels"])
        return Labels(np.full(self.n, UNLABELLED), classes or tuple(map(str, range(c))))

    def _count(self) -> tuple[int, int | str]:
        """The number of samples (that of the labels, unless the scores agree on another), and of classes for messages."""
        scored = ("logits", "probabilities", "subset")
        key = self.column.get("labels") or next(k for k in self.given if k.split("_", 1)[0] in scored)
        value = self.given[key]
        if not self.labelled:
            value = value.reshape(len(value), -1)[:, :1] if value.size and value.ndim else value
        n = value.size if value.ndim == 2 and 1 in value.shape else len(value) if value.ndim else 0
        if not n:
            raise DataError(f"'{key}' has shape {value.shape}: there are no samples.")
        scores = [k for k in self.given if k.split("_", 1)[0] in scored or k == "fused"]
        shapes = {self.given[k].shape for k in scores}
        for k in scores:
            shape = self.given[k].shape
            if len(shape) == 2 and shape[0] != n and shape[1] == n:
                raise DataError(
                    f"'{k}' has shape {shape}: it looks transposed, expected ({n}, {shape[0]}).", f"Give {k}.T."
                )
        counts = {shape[0] for shape in shapes if shape}
        if len(scores) > 1 and len(counts) == 1 and counts != {n} and len(shapes) == 1:
            raise DataError(f"'{key}' has shape {value.shape}, but '{scores[0]}' has {counts.pop()} rows.")
        return n, next((shape[1] for k in scores if len(shape := self.given[k].shape) == 2 and shape[0] == n), "C")

    def _take_missing(self) -> None:
        """Rows of NaN mark a missing modality, where no ``present_<m>`` marks it."""
        lacks = {}
        for m in self.modalities:
            if m in self.present:
                continue
            arrays = [self.given[k] for p in ("logits", "probabilities", "features") if (k := f"{p}_{m}") in self.given]
            empty = np.zeros(self.n, dtype=bool)
            for value in arrays:
                if value.dtype.kind == "f" and value.ndim == 2 and len(value) == self.n:
                    empty |= np.isnan(value).all(axis=1)
            if empty.any() and not empty.all():
                lacks[m] = empty
        if lacks and not np.all([lacks.get(m, np.zeros(self.n, dtype=bool)) for m in self.modalities], axis=0).any():
            for m, empty in lacks.items():
                self.present[m] = ~empty
                self.notes.append(
                    f"'{m}' is NaN throughout in {int(empty.sum())} of {self.n} samples: it was taken to be missing there"
                )

    def _classes(self, c: int) -> tuple[str, ...] | None:
        if "classes" not in self.column:
            return None
        key = self.column["classes"]
        names = class_names(self.given[key], key)
        if len(names) != c:
            raise DataError(f"'{key}' has {len(names)} names, but the scores have {c} columns.")
        return names

    def _sample_weights(self, key: str, m: str) -> Array:
        return self.tables.finite(rows(numbers(self.given[key], key), self.n, key), key, self.present.get(m))

    def _estimated(self) -> dict[str, Array]:
        """Estimated Shapley values; raises DataError where only some modalities have them, or the shape is wrong."""
        found = {m: self.tables.matrix(f"shapley_{m}", ESTIMATES, m) for m in self.names.having("shapley")}
        lacking = next((m for m in self.modalities if found and m not in found), None)
        if lacking is not None:
            raise DataError(f"There is no 'shapley_{lacking}', but the other modalities have one.")
        return found

    def _weights(self, c: int) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for m in self.names.having("weight"):
            key = f"weight_{m}"
            value = self.tables.finite(numbers(self.given[key], key), key)
            width = self.given[f"features_{m}"].shape[-1] if f"features_{m}" in self.given else None
            if value.ndim != 2 or len(value) != c or (width is not None and value.shape[1] != width):
                raise DataError(f"'{key}' has shape {value.shape}, expected ({c}, {width or 'D'}).")
            found[m] = value
        return found

    def _sum_checked(self, parts: Mapping[str, Array], fused: Array | None) -> Array | None:
        """``fused`` as it is; raises DataError where all modalities have a contribution and these have another sum."""
        lacking = [m for m in self.modalities if m not in parts]
        if parts and lacking:
            self.notes.append(
                f"there is no 'contribution_{lacking[0]}', so the contributions of the others are not used"
            )
        if parts and not lacking and fused is not None:
            gap = np.abs(sum(parts.values()) - fused).max() / max(1.0, np.abs(fused).max())
            if gap > SUM_GAP:
                names = _and([f"contribution_{m}" for m in parts])
                raise DataError(
                    f"The contributions do not sum to 'fused' (relative gap {gap:.2g} in {names}).",
                    "A contribution is a modality's additive part of the fused logits; leave the keys out otherwise.",
                )
        return fused

    def _rows(self, what: str) -> Array:
        key = self.column[what]
        return rows(self.given[key], self.n, key)

    def _split(self) -> Array:
        if "split" not in self.column:
            return np.full(self.n, "test")
        given = texts(self._rows("split"))
        if (given == "").all():
            return np.full(self.n, "test")
        if (given == "").any():
            row = int(np.flatnonzero(given == "")[0])
            raise DataError(
                f"'{self.column['split']}' is empty in {int((given == '').sum())} samples (first: row {row})."
            )
        found = split_names(given)
        for text in dict.fromkeys(given[np.isin(np.char.lower(given), EVALUATION)].tolist()):
            name = found[given == text][0]
            self.notes.append(f"the split '{text}' was read as '{name}', its usual meaning")
        return found

    def _segments(self) -> dict[str, Array]:
        keys = [key for key in self.given if key.startswith(SEGMENT) and key not in self.column.values()]
        return {key.removeprefix(SEGMENT): texts(rows(self.given[key], self.n, key)) for key in keys}

    def _group(self) -> Array | None:
        if "group" not in self.column:
            return None
        found = texts(self._rows("group"))
        unknown = found == ""
        if unknown.any():
            self.notes.append(
                f"'{self.column['group']}' is empty in {int(unknown.sum())} samples: each of them became a group of its own"
            )
            own = np.array([f"row {row}" for row in np.flatnonzero(unknown)])
            found = found.astype(np.result_type(found, own))
            found[unknown] = own
        return found


def _meta(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    meta = parse_json(str(value), "'meta'")
    if not isinstance(meta, dict):
        raise DataError("'meta' is not a JSON object.")
    return meta


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
