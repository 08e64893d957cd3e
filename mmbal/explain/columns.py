"""Columns of the user's data, whatever they are: arrays, tensors, pandas columns, lists of texts, pictures or arrays.

Every function takes a column and gives one of the same kind, so a model gets what it would get without mmbal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmbal.errors import DataError
from mmbal.predictions.columns import Array, plain

Column = Any  # an array (N, ...), a torch tensor (N, ...), a pandas Series, or a list of N entries


def is_tensor(value: Any) -> bool:
    return hasattr(value, "detach")


def is_series(value: Any) -> bool:
    return hasattr(value, "iloc")


def is_picture(value: Any) -> bool:
    return hasattr(value, "getbands")


def column(value: Any) -> Column:
    """``value`` as a column: tuples become lists."""
    return list(value) if isinstance(value, tuple) else value


def is_column(value: Any) -> bool:
    """Whether ``value`` has an entry for each sample."""
    return is_tensor(value) or is_series(value) or isinstance(value, (np.ndarray, list, tuple))


def take(values: Column, rows: Array) -> Column:
    """The entries of some rows, in that order."""
    if is_series(values):
        return values.iloc[rows].reset_index(drop=True)
    if isinstance(values, list):
        return [values[i] for i in rows.tolist()]
    return values[rows]


def join(parts: Sequence[Column]) -> Column:
    """The columns of several batches, one after the other."""
    first = parts[0]
    if is_tensor(first):
        import torch

        return torch.cat(list(parts))
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    return [entry for part in parts for entry in part]


# What stands in for a column


def zeros(values: Column, name: str) -> Column:
    """The column with nothing in it: zeros, empty texts, black pictures. Raises DataError for what has no zero."""
    if is_tensor(values):
        return values.new_zeros(values.shape)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiubc":
        return np.zeros_like(values)
    if is_series(values):
        kind = _kind_of_series(values)
        if kind == "category":
            raise _none(name, "holds categories, which have no zero")
        return _constant(values, "" if kind == "text" else values.dtype.type(0))
    return _like(values, [_zero(entry, name) for entry in values])


def _zero(entry: Any, name: str) -> Any:
    if isinstance(entry, (str, bytes)):
        return type(entry)()
    if is_picture(entry):
        return type(entry)() if entry.size == (0, 0) else entry.point(lambda _: 0)
    if is_tensor(entry):
        return entry.new_zeros(entry.shape)
    if isinstance(entry, (np.ndarray, np.generic)) and entry.dtype.kind in "fiub":
        return np.zeros_like(entry)
    if isinstance(entry, (bool, int, float)):
        return type(entry)(0)
    if isinstance(entry, (list, tuple)):
        return type(entry)(_zero(part, name) for part in entry)
    if entry is None:
        return None
    raise _none(name, f"holds values of the type {type(entry).__name__}, which have no zero")


def mean(values: Column, name: str) -> Any:
    """The mean entry: of numbers, of pictures of one size, and of a pandas column of categories its most frequent value.

    Raises DataError for what has no mean.
    """
    if is_tensor(values):
        return values.double().mean(dim=0).to(values.dtype)
    if is_series(values):
        if _kind_of_series(values) == "number":
            return values.dtype.type(values.mean())
        return values.mode().iloc[0]
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fiub":
            raise _none(name, "holds no numbers, so it has no mean")
        return _cast(values.mean(axis=0, dtype=np.float64), values.dtype)
    if is_picture(values[0]):
        from PIL import Image

        if len({(picture.size, picture.mode) for picture in values}) > 1:
            raise _none(name, "holds pictures of several sizes or modes, so there is no mean picture")
        total = sum(np.asarray(picture, dtype=np.float64) for picture in values)
        return Image.fromarray(np.rint(total / len(values)).astype(np.uint8), values[0].mode)
    try:
        stacked = plain(values, name)
    except DataError:
        raise _none(name, "holds values that have no mean") from None
    return mean(stacked, name)


def filled(values: Column, entry: Any) -> Column:
    """The column with the same ``entry`` in every row."""
    if is_tensor(values):
        return entry.expand_as(values).clone()
    if isinstance(values, np.ndarray):
        return np.broadcast_to(entry, values.shape).copy()
    if is_series(values):
        return _constant(values, entry)
    return _like(values, [entry] * len(values))


def missing(values: Column, name: str) -> Column:
    """The column as one without values: NaN, or None in lists. Raises DataError for integers, which have no NaN."""
    if is_tensor(values) and values.is_floating_point():
        return values.new_full(values.shape, float("nan"))
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return np.full_like(values, np.nan)
    if is_series(values):
        kind = _kind_of_series(values)
        whole = values.dtype.kind in "iub" if hasattr(values.dtype, "kind") else False
        empty = values.astype("float64") if kind == "number" and whole else values
        return empty.where(np.zeros(len(values), dtype=bool))
    if isinstance(values, list):
        return [None] * len(values)
    raise _none(name, f"has the type {values.dtype}, which has no NaN")


def _constant(values: Any, entry: Any) -> Any:
    """A pandas column of one value, of the same type."""
    return type(values)([entry] * len(values), name=values.name, dtype=values.dtype)


def _kind_of_series(values: Any) -> str:
    kind = getattr(values.dtype, "kind", "O")
    if str(values.dtype) == "category":
        return "category"
    return "number" if kind in "fiub" else "text"


def _like(values: Column, entries: list[Any]) -> Column:
    return np.array(entries, dtype=values.dtype) if isinstance(values, np.ndarray) else entries


def _cast(value: Array, kind: np.dtype[Any]) -> Array:
    return (np.rint(value) if kind.kind in "iub" else value).astype(kind)


def _none(name: str, why: str) -> DataError:
    return DataError(
        f"'{name}' {why}.", "Take another baseline: 'shuffled', or a function of your own (docs/explain.md)."
    )


# What a column holds


def vectors(values: Column) -> Array | None:
    """The entries as vectors ``(N, D)`` of floats; None for texts, pictures and entries of several lengths."""
    if is_series(values):
        if _kind_of_series(values) == "number":
            return values.to_numpy(dtype=np.float64)[:, None]
        codes = values.astype("category").cat.codes.to_numpy()
        return (codes[:, None] == np.unique(codes)).astype(np.float64)
    if isinstance(values, list) and (not values or isinstance(values[0], str) or is_picture(values[0])):
        return None
    try:
        table = plain(values, "")
    except DataError:
        return None
    return table.reshape(len(table), -1).astype(np.float64) if table.dtype.kind in "fiub" else None


def content(values: Column) -> Iterator[bytes]:
    """The bytes that tell one column from another, for the cache. Raises DataError for values without such bytes."""
    if is_series(values):
        values = values.to_numpy() if _kind_of_series(values) == "number" else values.astype(str).tolist()
    if is_tensor(values):
        values = plain(values, "")
    if isinstance(values, np.ndarray) and values.dtype != object:
        yield f"{values.dtype}{values.shape}".encode()
        yield np.ascontiguousarray(values).tobytes()
        return
    for entry in values:
        yield from _bytes(entry)


def _bytes(entry: Any) -> Iterator[bytes]:
    if is_picture(entry):
        yield f"{entry.mode}{entry.size}".encode()
        yield entry.tobytes()
    elif is_tensor(entry) or isinstance(entry, np.ndarray):
        yield from content(plain(entry, "") if is_tensor(entry) else entry)
    elif isinstance(entry, dict):
        for key, value in entry.items():
            yield from _bytes(str(key))
            yield from _bytes(value)
    elif isinstance(entry, (list, tuple)):
        yield f"{len(entry)}".encode()
        for part in entry:
            yield from _bytes(part)
    elif entry is None or isinstance(entry, (str, bytes, bool, int, float, np.generic)):
        text = repr(entry).encode()
        yield f"{len(text)}:".encode()
        yield text
    else:
        raise DataError(
            f"The cache can't tell values of the type {type(entry).__name__} apart.",
            "Leave out cache=, or give arrays.",
        )
