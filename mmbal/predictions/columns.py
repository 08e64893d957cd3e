"""The many forms of arrays, read in one way: one table of key names, and readers of text, masks, numbers and labels."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmbal.errors import DataError, did_you_mean
from mmbal.predictions.tables import number
from mmbal.text import some

UNLABELLED = -1  # the label of a sample whose class is not known
Array = np.ndarray

ALIASES = {
    "labels": ("labels", "label", "y", "target", "targets", "gt"),
    "ids": ("ids", "id", "clip_id", "clip"),
    "split": ("split", "splits"),
    "group": ("group", "groups", "actor", "speaker", "subject", "patient"),
    "classes": ("classes", "class_names"),
}
TRUE, FALSE = ("true", "yes", "1", "1.0", "t", "y"), ("false", "no", "0", "0.0", "f", "n")
SHARE = 0.95  # of an array's entries that must look like bit patterns


def key_of(given: Iterable[str], what: str) -> str | None:
    """The key under which ``given`` holds the labels, ids, split, group or classes; None where it has none."""
    keys = set(given)
    return next((key for key in ALIASES[what] if key in keys), None)


def plain(value: Any, key: str) -> Array:
    """``value`` as an array of numbers, booleans or text: lists, torch tensors, masked arrays, bytes, objects of one kind.

    Raises DataError naming the key where it is none of these.
    """
    if hasattr(value, "detach"):  # a torch tensor, whatever its device and gradient
        value = value.detach().cpu()
        value = value.float().numpy() if "bfloat16" in str(value.dtype) else value.numpy()
    if isinstance(value, np.ma.MaskedArray):
        if not np.ma.is_masked(value):
            value = value.data
        elif value.dtype.kind == "f":
            value = value.filled(np.nan)
        else:
            raise DataError(
                f"'{key}' is a masked array with masked entries.", "Leave these samples out, or fill the entries."
            )
    try:
        array = np.asarray(value)
    except ValueError:
        raise DataError(f"'{key}' has rows of different lengths.", "Give a rectangular array.") from None
    if array.dtype == object:
        array = _of_objects(array, key)
    if array.dtype.kind == "S":
        array = _decoded(array)
    if array.dtype.kind not in "fiubU":
        bits = "; two raw bytes an entry are usually bfloat16" if array.dtype.str == "|V2" else ""
        raise DataError(f"'{key}' has type {array.dtype}, expected numbers or text{bits}.", "Save it as float32.")
    return array


def _of_objects(array: Array, key: str) -> Array:
    items = array.ravel().tolist()
    if items and all(isinstance(item, (str, bytes)) for item in items):
        texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in items]
        return np.array(texts, dtype=str).reshape(array.shape)
    if items and all(item is None or isinstance(item, (int, float, np.number, np.bool_)) for item in items):
        return np.array([np.nan if item is None else item for item in items], dtype=np.float64).reshape(array.shape)
    raise DataError(f"'{key}' holds Python objects.", "Give plain arrays of numbers or text.")


def _decoded(array: Array) -> Array:
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError:
        return np.char.decode(array, "latin-1")


def rows(value: Array, n: int, key: str) -> Array:
    """A column of one entry a row, ``(N,)`` or ``(N, 1)`` or ``(1, N)``; raises DataError for another shape."""
    if value.shape in ((n, 1), (1, n)):
        return value.reshape(n)
    if value.shape != (n,):
        raise DataError(f"'{key}' has shape {value.shape}, expected ({n},).")
    return value


def texts(value: Array) -> Array:
    """Entries as stripped text; whole numbers without a decimal point, NaN as the empty text."""
    if value.dtype.kind == "f":
        words = ["" if np.isnan(x) else str(int(x)) if x == round(x) else str(x) for x in value.tolist()]
        return np.array(words, dtype=str)
    return np.char.strip(value.astype(str))


def mask(value: Array, n: int, key: str) -> Array:
    """A column of true and false, given as booleans, 0 and 1, or text; raises DataError for anything else."""
    column = rows(value, n, key)
    if column.dtype.kind == "b":
        return column
    words = np.char.lower(texts(column))
    unknown = ~np.isin(words, (*TRUE, *FALSE))
    if unknown.any():
        raise DataError(f"'{key}' holds '{column[unknown][0]}', expected true or false (1 or 0).")
    return np.isin(words, TRUE)


def numbers(value: Array, key: str) -> Array:
    """The array as float64; raises DataError for text that is no number, and for bit patterns of floats."""
    if value.dtype.kind == "U":
        try:
            return np.array([number(cell) for cell in value.ravel().tolist()]).reshape(value.shape)
        except ValueError:
            raise DataError(f"'{key}' holds text ('{value.ravel()[0]}'), expected numbers.") from None
    kind = bit_pattern(value)
    if kind:
        raise DataError(
            f"'{key}' holds {value.dtype} that look like the bit patterns of {kind} numbers.",
            "Save the numbers themselves: tensor.float().numpy().",
        )
    return value.astype(np.float64)


def bit_pattern(value: Array) -> str:
    """The float type whose bit patterns the integers look like; '' where they look like numbers.

    Nearly all magnitudes of logits are between 0.0001 and 1000; as integers their patterns lie in one narrow band.
    """
    if value.dtype.kind not in "iu" or value.size < 8:
        return ""
    values = value[value != 0].astype(np.int64)
    if not len(values):
        return ""
    bands = [("bfloat16", 0x7FFF, 0x38D1, 0x447A), ("float16", 0x7FFF, 0x068E, 0x63D0)]
    if values.min() < -(1 << 15) or values.max() >= 1 << 16:
        bands = [("float32", 0x7FFFFFFF, 0x38D1B717, 0x447A0000)]
    if values.min() < -(1 << 31) or values.max() >= 1 << 32:
        bands = [("float64", 0x7FFFFFFFFFFFFFFF, 0x3F1A36E2EB1C432D, 0x408F400000000000)]
    for name, without_sign, low, high in bands:
        size = values & without_sign
        if np.median(size) > high / 4 and ((size >= low) & (size <= high)).mean() >= SHARE:
            return name
    return ""


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
    raise DataError(f"'{key}' ranges from {low} to {high}, but there are {count} classes.", _counted(low, high, count))


def _counted(low: int, high: int, count: int) -> str:
    if low >= 1 and high == count:
        return "They seem to count from 1, so they are too high by one: classes count from 0."
    if low < 0:
        return "A negative label often marks a sample without a label: leave these samples out. Classes count from 0."
    return "Classes count from 0 in the order of the columns."
