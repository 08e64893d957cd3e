"""Labels and class names in the many forms that people give them: indices, names, one-hot rows, other spellings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmbal.errors import DataError, did_you_mean
from mmbal.predictions.columns import Array, texts
from mmbal.text import some

IGNORED = (255, 65535, 999, 9999)  # labels that programs give to samples that have none
LARGEST = 2.0**53  # above it not every whole number is a real number of its own
ABSENT = (
    "nan",
    "none",
    "null",
    "n/a",
    "#n/a",
    "<na>",
)  # what programs write where a value is missing, in small letters
UNLABELLED = -1  # the label of a sample whose class is not known


@dataclass(frozen=True)
class Labels:
    """Class index of every row ``(N,)``, the names of the classes, and what was done to get them."""

    index: Array
    classes: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


def class_names(value: Array, key: str = "classes") -> tuple[str, ...]:
    """The names of the classes; raises DataError where one is empty or comes twice."""
    names = texts(np.atleast_1d(np.squeeze(value))).tolist()
    for name, count in Counter(names).items():
        if not name or count > 1:
            raise DataError(f"'{key}' has an empty name." if not name else f"'{key}' holds '{name}' twice.")
    return tuple(names)


def labels_of(value: Array, classes: Sequence[str] | None, columns: int | None, key: str = "labels") -> Labels:
    """Labels as class indices, from indices, names, text digits, booleans or one-hot rows.

    ``classes``: their names where known. ``columns``: the number of classes where it is known, as that of the logits'
    columns; else the values that occur are the classes. Raises DataError naming the key.
    """
    value = one_column(value, key)
    if value.dtype.kind == "U":
        value = np.char.strip(value)
    missing = np.isnan(value) if value.dtype.kind == "f" else value == "" if value.dtype.kind == "U" else None
    if missing is not None and missing.any():
        what = "NaN" if value.dtype.kind == "f" else "an empty text"
        first = int(np.flatnonzero(missing)[0])
        raise DataError(
            f"'{key}' holds {what} in {int(missing.sum())} samples (first: row {first}).", "Leave them out."
        )
    if value.dtype.kind == "b" and classes is not None and {spelled(name) for name in classes} == {"true", "false"}:
        value = value.astype(str)
    if value.dtype.kind == "U":
        return _named(value, classes, columns, key)
    if value.dtype.kind == "b" and columns is not None and columns > 2:
        raise DataError(
            f"'{key}' holds True and False, but there are {columns} classes.", "Give class indices or names."
        )
    most = value[np.argmax(np.abs(value.astype(np.float64)))] if len(value) and value.dtype.kind in "fiu" else 0
    if abs(float(most)) >= LARGEST:
        raise DataError(f"'{key}' holds {most:g}, which is no class index.", "Classes count from 0.")
    if value.dtype.kind == "f" and (value != np.round(value)).any():
        raise DataError(
            f"'{key}' holds fractions (real numbers); expected class indices or class names.",
            "Cut them into classes first.",
        )
    return _indices(value.astype(np.int64), classes, columns, key)


def one_column(value: Array, key: str) -> Array:
    """Labels as one entry a sample ``(N,)``: one-hot rows become indices. Raises DataError for another shape."""
    if value.ndim == 2 and 1 in value.shape:
        return value.reshape(-1)
    if value.ndim == 1:
        return value
    if value.ndim == 2 and value.dtype.kind in "fiub" and np.isin(value, (0, 1)).all():
        if (value.sum(axis=1) == 1).all():
            return value.argmax(axis=1)  # one-hot
        raise DataError(f"'{key}' marks several classes, or none, in some samples; one class per sample is needed.")
    raise DataError(f"'{key}' has shape {value.shape}; one class per sample is needed, (N,).")


def _named(value: Array, classes: Sequence[str] | None, columns: int | None, key: str) -> Labels:
    words, which = np.unique(value, return_inverse=True)
    position = {name: i for i, name in enumerate(classes or ())}
    if classes is not None and all(word in position for word in words.tolist()):
        return Labels(np.array([position[word] for word in words.tolist()], dtype=np.int64)[which], tuple(classes))
    places, renamed = _respelled(words.tolist(), classes or (), key)
    if places is not None:
        return Labels(np.array(places, dtype=np.int64)[which], tuple(classes or ()), renamed)
    digits = [number for number in map(_whole, words.tolist()) if number is not None]
    if len(digits) == len(words):
        found = _indices(np.array(digits, dtype=np.int64)[which], classes, columns, key)
        if classes is not None and any(_whole(name) is None for name in classes):
            found.notes.append(f"'{key}' holds numbers: they were read as positions in the order of the classes")
        return found
    if classes is not None:
        unknown = next(word for word in words.tolist() if word not in position)
        raise DataError(f"'{key}' holds '{unknown}', which is not among the classes.", did_you_mean(unknown, classes))
    names = tuple(words.tolist())
    if columns is not None and len(names) != columns:
        raise DataError(
            f"'{key}' holds {len(names)} names, but the logits have {columns} columns.",
            "Give 'classes', the names in the order of the columns.",
        )
    notes = [] if columns is None else [
        f"there is no 'classes': the columns were read in the alphabetical order of the names ({some(names)})"
    ]  # fmt: skip
    return Labels(which.astype(np.int64), names, notes)


def _respelled(words: Sequence[str], classes: Sequence[str], key: str) -> tuple[list[int] | None, list[str]]:
    """Positions of labels whose names are spelled in another way than those of the classes, and what was done.

    None where a label fits no class or several. Two classes may also be called ``True`` and ``False`` in the labels.
    """
    table = {spelled(name): i for i, name in enumerate(classes)}
    if len(table) < len(classes):  # two classes of one spelling: nothing tells which is meant
        return None, []
    if (
        len(classes) == 2
        and {spelled(word) for word in words} <= {"true", "false"}
        and not table.keys() & {"true", "false"}
    ):
        note = f"'{key}' holds True and False: they were read as the second and the first class"
        return [int(spelled(word) == "true") for word in words], [note]
    if not words or any(spelled(word) not in table for word in words):
        return None, []
    found = [table[spelled(word)] for word in words]
    other = next((word, classes[i]) for word, i in zip(words, found, strict=True) if word != classes[i])
    return found, [f"'{key}' spells the classes in another way: '{other[0]}' was read as '{other[1]}'"]


def spelled(name: str) -> str:
    """A name as it is compared with others: case, spaces, ``_``, ``-`` and the forms of letters and numbers do not count."""
    text = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf").strip()
    if quoted := re.fullmatch(r"b(['\"])(.*)\1", text):  # bytes that were made into text
        text = quoted[2]
    if re.fullmatch(r"[+-]?\d+(\.\d*)?", text):
        return str(float(text))
    return re.sub(r"[\s_-]+", "", text.casefold()) or text


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Names that differ only in case, spaces, ``_`` and ``-``, or as numbers are written; not single letters."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        if len(name.strip()) > 1 or name.strip().isdigit():
            found[spelled(name)][name] = None
    return [tuple(group) for group in found.values() if len(group) > 1]


def _whole(word: str) -> int | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return int(number) if np.isfinite(number) and number == round(number) else None


def _indices(value: Array, classes: Sequence[str] | None, columns: int | None, key: str) -> Labels:
    """Whole numbers: positions of the columns, or names of the classes where these are such numbers themselves."""
    found, which = np.unique(value, return_inverse=True)
    count = len(classes) if classes is not None else columns
    if count is None:
        return Labels(which.astype(np.int64), tuple(str(v) for v in found.tolist()))
    position = {spelled(name): i for i, name in enumerate(classes or ())}
    by_name = len(found) > 0 and len(position) == count and all(spelled(str(v)) in position for v in found.tolist())
    names = tuple(classes) if classes is not None else tuple(str(i) for i in range(count))
    low, high = (int(value.min()), int(value.max())) if len(value) else (0, 0)
    if low >= 0 and high < count:
        notes = []
        if by_name and any(spelled(names[v]) != spelled(str(v)) for v in found.tolist()):
            notes = [f"'{key}' holds numbers that are also names of classes: they were read as positions, from 0"]
        return Labels(value, names, notes)
    if by_name:
        return Labels(np.array([position[spelled(str(v))] for v in found.tolist()], dtype=np.int64)[which], names)
    if count == 2 and set(found.tolist()) <= {-1, 1}:
        note = f"'{key}' holds -1 and 1: they were read as the first and the second class"
        return Labels((value > 0).astype(np.int64), names, [note])
    raise DataError(f"'{key}' ranges from {low} to {high}, but there are {count} classes.", _counted(low, high, count))


def _counted(low: int, high: int, count: int) -> str:
    if low >= 1 and high == count:
        return "They seem to count from 1, so they are too high by one: classes count from 0."
    if low < 0:
        return "A negative label often marks a sample without a label: leave these samples out. Classes count from 0."
    if high in IGNORED:
        return f"{high} often marks a sample without a label: leave these samples out. Classes count from 0."
    return "Classes count from 0 in the order of the columns."
