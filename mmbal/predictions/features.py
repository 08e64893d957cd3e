"""Feature files: ``.npz`` (and MATLAB ``.mat``) with one array a modality, N rows each, and the labels. One reader for all.

====================== ==================================================================================
key                    meaning (only ``label`` and one array of features are needed)
====================== ==================================================================================
``label (N,)``         class index or name, or one-hot rows
``modalities (M,)``    names of the arrays of features; else every array of numbers with two or more axes
``<modality> (N,D)``   features of one modality; more axes are sequences, spectrograms, pictures
``present_<modality>`` (N,) false where the modality is missing
``classes (C,)``       names of the classes, in the order of the indices
``ids``, ``split``, ``group`` (N,)
====================== ==================================================================================

The labels, ids, split, group and classes may have the other names that :mod:`mmbal.predictions.columns` lists. Arrays
that do not fit the others are refused with their name, and unused arrays are named in a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.files import npz_keys, read_npz
from mmbal.predictions.columns import ALIASES, Array, bit_pattern, key_of, mask, plain, rows, texts
from mmbal.predictions.labels import class_names, one_column
from mmbal.predictions.splits import split_names
from mmbal.text import some

DECISIONS = re.compile(
    r"(logit|prob|contrib|subset|fused?\b|fusion\b|score|pred)", re.IGNORECASE
)  # names of such arrays
HEAD = re.compile(r"weight(_.+)?|bias|meta")  # arrays of a linear head beside the features


@dataclass(frozen=True)
class FeatureFile:
    """The arrays of a feature file, checked against each other; ``labels`` are as they stand there."""

    path: Path
    arrays: dict[str, Array]  # modality -> (N, ...)
    keys: dict[str, str]  # modality -> the array's name in the file
    labels: Array
    labels_key: str
    named_classes: tuple[str, ...] | None = None
    ids: Array | None = None
    split: Array | None = None
    group: Array | None = None
    present: dict[str, Array] = field(default_factory=dict)
    others: dict[str, Array] = field(default_factory=dict)  # arrays that are none of these

    def columns(self) -> dict[str, Array]:
        """``ids``, ``split`` and ``group`` where the file has them."""
        every = {"ids": self.ids, "split": self.split, "group": self.group}
        return {name: value for name, value in every.items() if value is not None}

    def remarks(self, used: Iterable[str] = ()) -> list[str]:
        """What looks wrong in the features, and which arrays nothing reads; a sentence each, without a full stop."""
        unused = [key for key in self.others if key not in set(used) and not HEAD.fullmatch(key)]
        told = [f"'{key}' {self.others[key].shape} was not used" for key in unused]
        found = [text for m, array in self.arrays.items() for text in empty_rows(m, array, self)]
        flat = [text for m, array in self.arrays.items() for text in dull_columns(m, array)]
        return [*found, *copies(self.arrays), *flat, *told]


def is_feature_file(path: str | Path) -> bool:
    """Whether ``path`` is an .npz archive with labels and features, but without decisions; no array is read."""
    keys = npz_keys(Path(path))
    if key_of(keys, "labels") is None or any(DECISIONS.match(key) for key in keys):
        return False
    known = {key for spellings in ALIASES.values() for key in spellings}
    return any(key not in known and key != "modalities" and not key.startswith("present_") for key in keys)


def read_feature_file(
    path: Path,
    given: Mapping[str, Array] | None = None,
    *,
    label: str | None = None,
    modality: Sequence[str] | None = None,
) -> FeatureFile:
    """Read and check a feature file. ``given``: its arrays, where they were read already (MATLAB).

    ``label``: the labels' array. ``modality``: the arrays to take, each ``NAME`` or ``NAME=ARRAY``. Raises UsageError (no
    file, no such array), DataError (what does not fit, with the array's name).
    """
    raw = read_npz(path) if given is None else given
    try:
        arrays = {key: plain(value, key) for key, value in raw.items()}
        return _checked(path, arrays, label, modality)
    except DataError as error:
        whole = str(path) in error.message
        raise DataError(error.message if whole else f"{path}: {error.message}", error.hint) from None


def _checked(path: Path, given: dict[str, Array], label: str | None, modality: Sequence[str] | None) -> FeatureFile:
    labels_key = (label if label in given else None) if label else key_of(given, "labels")
    if labels_key is None:
        have = f"it has: {', '.join(given)}" if given else "it is empty"
        raise DataError(f"{path} has no array '{label or 'label'}' ({have}).", "Name it with --label KEY.")
    labels = one_column(given[labels_key], labels_key)
    n = len(labels)
    if not n:
        raise DataError(f"'{labels_key}' has shape {given[labels_key].shape}: there are no samples.")
    chosen = _chosen(path, given, n, labels_key, modality)
    arrays = {m: given[key].reshape(n, -1) if given[key].ndim == 1 else given[key] for m, key in chosen.items()}
    for m, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"'{chosen[m]}' holds text, not numbers.")
        if not array.size:
            raise DataError(f"'{chosen[m]}' has shape {array.shape}: it has no features.")
    used = {labels_key, *chosen.values(), "modalities"}
    found: dict[str, Array] = {}
    for what in ("ids", "split", "group", "classes"):
        key = key_of([k for k in given if k not in used], what)
        if key is not None:
            found[what] = given[key] if what == "classes" else texts(rows(np.squeeze(given[key]), n, key))
            used.add(key)
    present = {}
    for m in chosen:
        for key in (f"present_{m}", f"present_{chosen[m]}"):
            if key in given:
                present[m] = mask(np.squeeze(given[key]), n, key)
                used.add(key)
    split = found.get("split")
    return FeatureFile(
        path=path,
        arrays=arrays,
        keys=chosen,
        labels=labels,
        labels_key=labels_key,
        named_classes=class_names(found["classes"]) if "classes" in found else None,
        ids=found.get("ids"),
        split=None if split is None else split_names(split),
        group=found.get("group"),
        present=present,
        others={key: value for key, value in given.items() if key not in used},
    )


def _chosen(
    path: Path, given: Mapping[str, Array], n: int, labels_key: str, modality: Sequence[str] | None
) -> dict[str, str]:
    """Modality -> array. As given, else as in the file's ``modalities``, else all arrays of two or more axes."""
    if modality:
        chosen = {name: key or name for name, _, key in (m.partition("=") for m in modality)}
    elif "modalities" in given:
        chosen = {m: m for m in texts(np.atleast_1d(given["modalities"])).tolist()}
    else:
        known = {labels_key, *(key for what in ALIASES if (key := key_of(given, what)))}
        chosen = {
            k: k
            for k, a in given.items()
            if a.ndim >= 2
            and a.dtype.kind in "fiub"
            and k not in known
            and not re.match(f"present_|{HEAD.pattern}$", k)
        }
        fitting = [k for k in chosen if len(given[k]) == n]
        if not fitting:
            raise DataError(
                f"{path} has no array of {n} rows and two or more axes.", "Save one (N, D) array per modality."
            )
    for key in chosen.values():
        if key not in given:
            error = UsageError if modality else DataError
            named = "" if modality else ": 'modalities' names it"
            raise error(f"{path} has no array '{key}'{named}.", did_you_mean(key, given))
        shape = given[key].shape
        if shape[:1] != (n,):
            turned = " It looks transposed." if len(shape) == 2 and shape[1] == n else ""
            rest = [k for k in chosen.values() if given[k].shape[:1] == (n,)]
            raise DataError(
                f"'{key}' has {shape[0] if shape else 0} rows (shape {shape}), but there are {n} labels.{turned}",
                f"`mmbal prepare` leaves it out: {' '.join(f'--modality {k}' for k in rest)}."
                if rest and not turned
                else "",
            )
    return chosen


def empty_rows(m: str, array: Array, file: FeatureFile) -> list[str]:
    """Words for samples whose features are all zero although the modality is said to be there."""
    flat = array.reshape(len(array), -1)
    zero = (flat == 0).all(axis=1) & file.present.get(m, np.ones(len(array), dtype=bool))
    if array.dtype == np.uint8 or not zero.any():  # black pictures have a finding of their own
        return []
    where = np.flatnonzero(zero)
    names = file.ids[where] if file.ids is not None else where.astype(str)
    return [
        f"'{m}' is zero throughout in {len(where)} of {len(array)} rows ({some(names.tolist())}); if it is missing there, "
        f"say so in an array 'present_{m}'"
    ]


def dull_columns(m: str, array: Array) -> list[str]:
    """Words for columns of features ``(N, D)`` that never vary, or that are equal."""
    if array.ndim != 2 or len(array) < 2 or array.dtype == np.uint8:
        return []
    told = []
    constant = (array == array[0]).all(axis=0)
    if constant.any():
        where = np.flatnonzero(constant).tolist()
        told.append(f"'{m}' has {len(where)} constant column{'s' if len(where) > 1 else ''} ({some(where)})")
    first: dict[bytes, int] = {}
    pairs = []
    for k in np.flatnonzero(~constant).tolist():
        content = np.ascontiguousarray(array[:, k]).tobytes()
        if content in first:
            pairs.append(f"{k} to {first[content]}")
        first.setdefault(content, k)
    if pairs:
        columns = "column" if len(pairs) == 1 else "columns"
        told.append(f"'{m}' has {len(pairs)} {columns} identical to another ({some(pairs)})")
    bits = bit_pattern(array)
    if bits:
        told.append(f"'{m}' holds {array.dtype} that look like the bit patterns of {bits} numbers: save it as float32")
    return told


def copies(arrays: Mapping[str, Array]) -> list[str]:
    """Words for modalities whose arrays are the same."""
    names = list(arrays)
    return [
        f"'{a}' and '{b}' are the same array: is one a copy of the other?"
        for k, b in enumerate(names)
        for a in names[:k]
        if arrays[a].shape == arrays[b].shape and np.array_equal(arrays[a], arrays[b])
    ]
