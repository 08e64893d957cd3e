"""The predictions file: what a multimodal model decided, in one .npz that any framework can write.

====================== ==================================================================================
key                    meaning (only ``labels`` and one ``logits_<m>`` or ``probabilities_<m>`` are needed;
                       ``mmbal diagnose`` also takes a file without labels)
====================== ==================================================================================
``labels (N,)``        class index from 0, or class name
``classes (C,)``       class names in the order of the columns
``ids (N,)``           sample identifiers, for pairing files
``split (N,)``         ``train``, ``val``, ``calibration`` or ``test`` in their usual spellings, or any other
                       name; all ``test`` where not given
``group (N,)``         speaker, actor, patient...: bootstraps and cross-fitting keep a group together
``group_<name> (N,)``  a property of the samples (sex, age, site...) whose values `mmbal diagnose` compares
``modalities (M,)``    order of the modalities; else that of the keys
``logits_<m> (N,C)``   decision of modality m alone; ``probabilities_<m>`` is accepted in its place
``contribution_<m>``   (N,C) its part of the fused logits, where the parts sum to ``fused``
``fused (N,C)``        the model's decision as it is
``subset_<a>+<b>``     (N,C) fused logits with only these modalities given; ``subset_`` alone is none of them.
                       Where there is no ``logits_<m>``, ``subset_<m>`` less ``subset_`` stands for it
``shapley_<m> (N,4)``  Shapley values of m that were estimated from some coalitions: of being right, of the
                       log-likelihood, and their standard errors. ``contribution_<m>`` is then an estimate too
``baseline_<b>:<key>`` ``subset_``, ``logits_``, ``contribution_`` and ``shapley_`` arrays under another baseline b,
                       which is what stands in for an absent modality; ``meta`` names the file's own one
``weights_<m> (N,)``   how a gate weighs m in each sample: what it multiplies the logits of m by, where ``fused`` is
                       their sum
``exchanged (N,C)``    the fused logits with the gate's weights of other samples, where ``fused`` is no such sum
``features_<m> (N,D)`` what the encoder of m gives to the fusion
``weight_<m> (C,D)``   the linear decision weights of m
``bias (C,)``          the head's bias
``present_<m> (N,)``   false where the modality is missing; without the array, rows of NaN are missing
``meta``               JSON text: producer, dataset, seed, method, fusion...
====================== ==================================================================================

An array of another name is refused. The labels, ids, split, group and classes may have the other names that
:mod:`mmbal.predictions.columns` lists. What looks wrong, but may be right, is in :attr:`Predictions.warnings`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Union

import numpy as np

from mmbal.errors import DataError, UsageError
from mmbal.files import read_npz, require_memory, write_npz
from mmbal.maths.scoring import correct
from mmbal.notebook import Content, Shown
from mmbal.predictions import doubts
from mmbal.predictions.columns import Array
from mmbal.predictions.joining import joined
from mmbal.predictions.reading import SCHEMA_VERSION, Reader
from mmbal.predictions.splits import split_name
from mmbal.tables import Column, Table
from mmbal.text import SHARE, plural

BASELINE = "baseline_"
OF_BASELINE = (
    "subset_",
    "logits_",
    "probabilities_",
    "contribution_",
    "shapley_",
)  # arrays that depend on the baseline
COPIES = 6  # of each table of scores, that a diagnosis has at a time
MATRICES = 6  # of the covariance of the balance's weights, one for each class and modality and a bias for each class
REPLICATES = 6000  # numbers that it keeps by class and modality: those of the bootstrap, of some figures
CHECKED = "checked"  # the value of ``meta["labels"]`` for labels that are right although they look wrong

Source = Union["Predictions", str, "os.PathLike[str]", Mapping[str, Any]]  # what :meth:`Predictions.of` takes


@dataclass(frozen=True, repr=False)
class Predictions(Shown):
    """Decisions of N samples, C classes, M modalities; see the module's table for each field's shape.

    Build with :meth:`from_arrays` or :meth:`load`, which check every array. A field that the producer did not give
    is an empty dict or None. A figure that needs it is reported as not computed, never guessed.

    >>> p = mmbal.Predictions.of({"labels": [0, 1], "logits_sound": [[2, 0], [0, 1]], "logits_face": [[0, 1], [0, 2]]})
    >>> len(p), p.modalities, p.logits["face"].argmax(axis=1)
    (2, ('sound', 'face'), array([1, 1]))
    """

    labels: Array
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    logits: dict[str, Array]
    ids: Array
    split: Array
    labelled: bool = True  # without labels each entry of ``labels`` is -1
    group: Array | None = None
    fused: Array | None = None
    contribution: dict[str, Array] = field(default_factory=dict)
    subsets: dict[tuple[str, ...], Array] = field(default_factory=dict)
    shapley: dict[str, Array] = field(default_factory=dict)
    segments: dict[str, Array] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    exchanged: Array | None = None
    features: dict[str, Array] = field(default_factory=dict)
    weight: dict[str, Array] = field(default_factory=dict)
    bias: Array | None = None
    present: dict[str, Array] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, Predictions] = field(default_factory=dict)  # the same rows under other baselines
    unruled: Predictions | None = None  # the same rows as the model decided them, where a fitted rule made ``fused``
    warnings: tuple[str, ...] = ()  # what was done to read the arrays and what looks wrong; not saved

    def __len__(self) -> int:
        return len(self.labels)

    def shown(self) -> Content:
        """How many samples each split has, and how often each decision is right there, as a notebook shows it."""
        counts = [plural(len(self), "sample"), plural(len(self.classes), "class", "classes")]
        decided = {f"{m} alone": logits for m, logits in self.logits.items()}
        decided |= {} if self.fused is None else {"fused": self.fused}
        rows = {split: self.split == split for split in self.splits()}
        right = {name: correct(logits, self.labels) for name, logits in decided.items()}
        columns = [Column(name, [float(r[mask].mean()) for mask in rows.values()], SHARE) for name, r in right.items()]
        table = Table.of([Column("split", list(rows)), Column("samples", list(self.splits().values())), *columns])
        return Content(f"Predictions: {', '.join([*counts, *self.modalities])}", self.warnings, [table])

    def __str__(self) -> str:
        splits = ", ".join(f"{n} {name}" for name, n in self.splits().items())
        held = {"fused": self.fused is not None, "contributions": self.contribution, "features": self.features}
        held |= {f"{len(self.subsets)} coalitions": self.subsets, "missing modalities": self.missing}
        lines = [
            f"Predictions of {len(self)} samples ({splits}), {len(self.classes)} classes",
            f"modalities: {', '.join(self.modalities)}",
            f"with: {', '.join(['unimodal logits', *(name for name, there in held.items() if there)])}",
        ]
        if "baseline" in self.meta:
            lines.append(f"baseline: {', '.join([str(self.meta['baseline']), *self.baselines])}")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    __repr__ = __str__

    @property
    def missing(self) -> bool:
        """Whether a modality is missing from any sample."""
        return any(not mask.all() for mask in self.present.values())

    def present_mask(self) -> Array:
        """``(N, M)`` bool, true where the sample has the modality."""
        return np.stack([self.present.get(m, np.ones(len(self), dtype=bool)) for m in self.modalities], axis=1)

    def splits(self) -> dict[str, int]:
        """Split name -> number of rows, in order of appearance."""
        return {str(s): int((self.split == s).sum()) for s in dict.fromkeys(self.split.tolist())}

    def select(self, split: str) -> Predictions:
        """The rows of one split, under any of its usual spellings.

        ``calibration`` and ``val`` stand for each other where only one of them has rows. Raises UsageError where the
        split has none.
        """
        have = self.splits()
        name = split if split in have else split_name(split)
        other = {"calibration": "val", "val": "calibration"}.get(name, name)
        name = name if name in have else other if other in have else split
        if name not in have:
            raise UsageError(f"The predictions have no split '{split}'.", f"They have: {', '.join(have)}.")
        chosen = self.split == name
        return self if chosen.all() else self.take(np.flatnonzero(chosen))

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
            shapley=pick(self.shapley),
            baselines={name: found.take(rows) for name, found in self.baselines.items()},
            segments=pick(self.segments),
            weights=pick(self.weights),
            exchanged=None if self.exchanged is None else self.exchanged[rows],
            features=pick(self.features),
            present=pick(self.present),
            unruled=None if self.unruled is None else self.unruled.take(rows),
        )

    @classmethod
    def load(cls, path: str | Path, *, unlabelled: bool = False) -> Predictions:
        """Read a predictions file; raises UsageError (no file) or DataError (what is wrong, with the key).

        ``unlabelled``: whether the labels may be missing.
        """
        path = Path(path)
        try:
            return cls.from_arrays(read_npz(path), examine=True, unlabelled=unlabelled)
        except DataError as error:
            whole = str(path) in error.message
            raise DataError(error.message if whole else f"{path}: {error.message}", error.hint) from None

    @classmethod
    def of(cls, value: Source, *, unlabelled: bool = False) -> Predictions:
        """What the public functions take: Predictions, a mapping of arrays, or the path of a predictions file.

        ``unlabelled``: whether the labels may be missing. Raises UsageError or DataError where there are no predictions.
        """
        if isinstance(value, (str, os.PathLike)):
            path = Path(value)
            if path.is_dir() or path.suffix == ".pt":
                raise UsageError(
                    f"{path} is a run, not a file of predictions.", "mmbal.load(RUN) gives its predictions."
                )
            return cls.load(path, unlabelled=unlabelled)
        if isinstance(value, Mapping):
            return cls.from_arrays(value, examine=True, unlabelled=unlabelled)
        if not isinstance(value, Predictions):
            raise UsageError(
                f"Predictions can't be read from {type(value).__name__}.",
                "Give Predictions, a mapping of arrays (labels, logits_<modality>...), or a path.",
            )
        return value

    def doubt(self) -> str:
        """Why the labels can't belong to the decisions; '' where nothing says so, in an own run, or where they are checked.

        See :func:`mmbal.predictions.doubts.doubt`.
        """
        known = "run" in self.meta or self.meta.get("labels") == CHECKED or not self.labelled
        return "" if known else doubts.doubt(self)

    def require_plausible(self) -> None:
        """Raise DataError where there is a :meth:`doubt`: all figures would be meaningless.

        Raises it too where the figures need more memory than the machine has.
        """
        n, c, m = len(self), len(self.classes), len(self.modalities)
        numbers = c * (COPIES * n * (m + 1) + REPLICATES * m + MATRICES * c * (m + 1) ** 2)
        require_memory(8.0 * numbers, f"Figures of {n} samples and {c} classes need")
        doubt = self.doubt()
        if doubt:
            raise DataError(
                doubt, f'Correct the labels, or state that they are right: meta = {{"labels": "{CHECKED}"}}.'
            )

    @classmethod
    def concatenate(cls, *parts: Any) -> Predictions:
        """Rows of several predictions of the same model, one after the other: of its splits, or of shards.

        ``parts``: two or more of what :meth:`of` takes, or one list of them. Classes and modalities must be the same, the
        modalities in any order. Arrays that only some parts have are left out, with a warning. Raises UsageError where
        there is nothing to join, DataError where the parts do not fit.
        """
        given = list(parts[0]) if len(parts) == 1 and isinstance(parts[0], (list, tuple)) else list(parts)
        return joined([part if isinstance(part, Predictions) else cls.of(part) for part in given])

    def save(self, path: str | Path) -> None:
        """Write the predictions as float32 arrays, atomically."""
        arrays: dict[str, Array] = {
            **({"labels": self.labels} if self.labelled else {}),
            "classes": np.array(self.classes, dtype=str),
            "modalities": np.array(self.modalities, dtype=str),
            "ids": self.ids,
            "split": self.split,
            "meta": np.array(json.dumps({**self.meta, "schema_version": SCHEMA_VERSION})),
        }
        for key in ("group", "fused", "exchanged", "bias"):
            if getattr(self, key) is not None:
                arrays[key] = getattr(self, key)
        for prefix in ("weights", "features", "weight", "present"):
            arrays |= {f"{prefix}_{m}": value for m, value in getattr(self, prefix).items()}
        arrays |= {f"group_{name}": value for name, value in self.segments.items()}
        arrays |= self._of_baseline()
        for name, other in self.baselines.items():
            arrays |= {f"{BASELINE}{name}:{key}": value for key, value in other._of_baseline().items()}
        write_npz(Path(path), {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in arrays.items()})

    def _of_baseline(self) -> dict[str, Array]:
        """The arrays that depend on what stands in for an absent modality."""
        found = {"subset_" + "+".join(names): value for names, value in self.subsets.items()}
        for prefix in ("logits", "contribution", "shapley"):
            found |= {f"{prefix}_{m}": value for m, value in getattr(self, prefix).items()}
        return found

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, Any],
        meta: Mapping[str, Any] | None = None,
        *,
        examine: bool = False,
        unlabelled: bool = False,
    ) -> Predictions:
        """Check a mapping of arrays (keys as in the module's table) and take it; raises DataError naming the key.

        ``meta`` is added to what the arrays hold of it. ``examine`` also looks for what is wrong in the numbers, such as
        a modality that is worse than chance, and puts it into ``warnings``. ``unlabelled``: the labels may be missing.
        """
        own = {key: value for key, value in arrays.items() if not str(key).startswith(BASELINE)}
        found = cls(**Reader(own, meta, unlabelled).fields())
        if len(own) < len(arrays):
            shared = {key: value for key, value in own.items() if not key.startswith(OF_BASELINE)}
            others: dict[str, dict[str, Any]] = {}
            for key in (key for key in arrays if key not in own):
                name, _, what = key.removeprefix(BASELINE).rpartition(":")
                others.setdefault(name, {})[what] = arrays[key]
            told = dict(meta or {})
            known = {
                name: cls.from_arrays(shared | other, told | {"baseline": name}, unlabelled=unlabelled)
                for name, other in others.items()
            }
            found = replace(found, baselines=known)
        if not examine or not found.labelled:
            return found
        return replace(found, warnings=(*found.warnings, *doubts.remarks(found)))


def subsets_of(modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All subsets, smallest first, members in the order given: the coalitions of the Shapley values."""
    return [names for size in range(len(modalities) + 1) for names in combinations(modalities, size)]
