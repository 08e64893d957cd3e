"""The many forms of arrays, read in one way: one table of key names, and readers of text, masks and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mmbal.errors import DataError
from mmbal.predictions.tables import number, of_two_kinds

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
        if both := of_two_kinds(value.ravel().tolist()):
            raise DataError(
                f"'{key}': the comma of '{both}' may part thousands or decimals.", "Write all numbers with a point."
            )
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
