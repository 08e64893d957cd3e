"""The user's data, whatever their form, as columns by name; a batch has the form that the data have.

=========================================== ===================================================================
data                                        a batch that the model gets
=========================================== ===================================================================
mapping of columns (arrays, tensors, lists) a dict of the same columns
list of dicts, one a sample                 a dict of lists
pandas DataFrame                            a DataFrame
array or tensor (N, D)                      an array or tensor (B, D)
torch DataLoader with dictionary batches    a dict of columns; all batches are read first and kept in memory
Hugging Face ``datasets.Dataset``           what ``dataset[rows]`` gives, read batch by batch
=========================================== ===================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmbal.errors import DataError, UsageError, did_you_mean
from mmbal.explain.columns import Column, column, is_column, is_tensor, join, take
from mmbal.predictions.columns import Array

Modalities = Sequence[str] | Mapping[str, Any] | None
REST = ""  # columns of a table of numbers that belong to no modality


class Data:
    """Columns by name; a subclass knows how to make a batch of the user's form of them."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = {str(name): column(value) for name, value in columns.items()}
        lengths = {name: len(value) for name, value in self.columns.items()}
        self.n = next(iter(lengths.values()), 0)
        for name, n in lengths.items():
            if n != self.n:
                first = next(iter(lengths))
                raise DataError(f"'{name}' has {n} rows, but '{first}' has {self.n}.")
        if not self.n:
            raise DataError("The data have no rows.")

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    def whole(self, name: str) -> Column:
        """All rows of a column."""
        return self.columns[name]

    def take(self, rows: Array, names: Iterable[str] | None = None) -> dict[str, Column]:
        """Some rows of all columns, or of those called ``names``."""
        return {name: take(self.columns[name], rows) for name in (self.columns if names is None else names)}

    def batch(self, columns: Mapping[str, Column]) -> Any:
        """A batch of the user's form."""
        return dict(columns)

    def read(self, batch: Any) -> dict[str, Column]:
        """The columns of such a batch."""
        return {str(name): column(values) for name, values in batch.items()}


class Frame(Data):
    """A pandas DataFrame."""

    def __init__(self, frame: Any) -> None:
        if frame.columns.duplicated().any():
            raise DataError(f"The table has two columns called '{frame.columns[frame.columns.duplicated()][0]}'.")
        self.frame = frame
        self.own = {str(name): name for name in frame.columns}
        super().__init__({text: frame[name] for text, name in self.own.items()})

    def batch(self, columns: Mapping[str, Column]) -> Any:
        return type(self.frame)({self.own[name]: values for name, values in columns.items()})

    def read(self, batch: Any) -> dict[str, Column]:
        return {str(name): batch[name].reset_index(drop=True) for name in batch.columns}


class Matrix(Data):
    """A table of numbers ``(N, D)``; its columns are the modalities' blocks."""

    def __init__(self, table: Any, blocks: Mapping[str, Any]) -> None:
        positions = np.arange(table.shape[1])
        try:
            self.blocks = {m: np.atleast_1d(positions[block]) for m, block in blocks.items()}
        except (IndexError, TypeError):
            raise UsageError(
                f"The data have {len(positions)} columns, and modalities name others.",
                "Name them like modalities={'audio': slice(0, 20), 'video': [20, 21, 22]}.",
            ) from None
        taken = np.concatenate(list(self.blocks.values()))
        self.blocks[REST] = np.setdiff1d(positions, taken)
        self.width = len(positions)
        super().__init__({name: table[:, block] for name, block in self.blocks.items()})

    def batch(self, columns: Mapping[str, Column]) -> Any:
        parts = {name: columns[name] for name in self.blocks}
        order = np.argsort(np.concatenate(list(self.blocks.values())), kind="stable")
        if is_tensor(next(iter(parts.values()))):
            import torch

            return torch.cat(list(parts.values()), dim=1)[:, order]
        return np.concatenate(list(parts.values()), axis=1)[:, order]

    def read(self, batch: Any) -> dict[str, Column]:
        return {name: batch[:, block] for name, block in self.blocks.items()}


class Hub(Data):
    """A Hugging Face dataset: rows are read when they are needed."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.n = len(dataset)
        self.columns = dict.fromkeys(dataset.column_names)
        if not self.n:
            raise DataError("The data have no rows.")

    def whole(self, name: str) -> Column:
        return column(self.dataset[:][name])

    def take(self, rows: Array, names: Iterable[str] | None = None) -> dict[str, Column]:
        found = self.dataset[rows.tolist()]
        return {name: column(found[name]) for name in (self.columns if names is None else names)}


def _source(data: Any, modalities: Modalities) -> Data:
    if hasattr(data, "column_names") and hasattr(data, "features"):
        return Hub(data)
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return Frame(data)
    if isinstance(data, Mapping):
        odd = next((name for name, value in data.items() if not is_column(value)), None)
        if odd is not None:
            raise DataError(f"'{odd}' is of the type {type(data[odd]).__name__}, which has no rows.")
        return Data(data)
    if (is_tensor(data) or isinstance(data, np.ndarray)) and data.ndim == 2:
        if not isinstance(modalities, Mapping):
            raise UsageError(
                "The data are one table of numbers, so modalities must name the columns of each modality.",
                "For example modalities={'audio': slice(0, 20), 'video': slice(20, 52)}.",
            )
        return Matrix(data, modalities)
    if isinstance(data, (list, tuple)) and data and isinstance(data[0], Mapping):
        return Data({name: [row[name] for row in data] for name in data[0]})
    if (
        isinstance(data, Iterable)
        and not isinstance(data, (str, bytes, list, tuple, np.ndarray))
        and not is_tensor(data)
    ):
        return Data(_gathered(data))
    raise UsageError(
        f"mmbal can't read data of the type {type(data).__name__}.",
        "Give a mapping of arrays, a DataFrame, a loader with dictionary batches or a Hugging Face dataset.",
    )


def _gathered(loader: Iterable[Any]) -> dict[str, Column]:
    """All batches of a loader, one after the other."""
    batches: list[Mapping[str, Any]] = []
    for batch in loader:
        if not isinstance(batch, Mapping):
            raise UsageError(
                f"The loader gives batches of the type {type(batch).__name__}; dictionaries are needed.",
                "Give a mapping of arrays, or let the data set return a dictionary for each sample.",
            )
        batches.append(batch)
    if not batches:
        raise DataError("The loader gave no batch.")
    return {
        name: join([column(batch[name]) for batch in batches]) for name in batches[0] if is_column(batches[0][name])
    }


@dataclass(frozen=True)
class Inputs:
    """The data, and the columns that belong to each modality; the model gets the other columns as they are."""

    source: Data
    modalities: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, data: Any, modalities: Modalities = None, others: Iterable[Any] = ()) -> Inputs:
        """Read ``data``; ``modalities`` are names of columns, or name -> the columns of the modality.

        Where it is not given, every column is a modality, but for those that ``others`` names (labels, split...).
        Raises UsageError for unknown columns or fewer than two modalities, DataError for data without rows.
        """
        source = _source(data, modalities)
        given = [name for name in others if isinstance(name, str)]
        if modalities is None:
            table: dict[str, tuple[str, ...]] = {name: (name,) for name in source.names if name not in given}
        elif isinstance(source, Matrix):
            table = {name: (name,) for name in source.names if name != REST}
        elif isinstance(modalities, Mapping):
            table = {m: (c,) if isinstance(c, str) else tuple(map(str, c)) for m, c in modalities.items()}
        else:
            table = {str(name): (str(name),) for name in ([modalities] if isinstance(modalities, str) else modalities)}
        owner: dict[str, str] = {}
        for m, names in table.items():
            for name in names:
                if name not in source.names:
                    raise UsageError(
                        f"There is no column '{name}' for the modality '{m}'.", did_you_mean(name, source.names)
                    )
                if name in owner:
                    raise UsageError(f"The column '{name}' belongs to both '{owner[name]}' and '{m}'.")
                if name in given:
                    raise UsageError(f"The column '{name}' of '{m}' is also given as labels, split, groups or ids.")
                owner[name] = m
            if not m or "+" in m:
                raise UsageError(f"The name of the modality '{m}' is empty or holds '+'.", "Give it another name.")
        if len(table) < 2:
            raise UsageError(
                f"There is only one modality ({next(iter(table), 'none')}), so there is nothing to compare.",
                "Name two or more with modalities= (in a terminal: --modality NAME).",
            )
        return cls(source, table)

    def __len__(self) -> int:
        return self.source.n

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.modalities)

    def columns_of(self, absent: Iterable[str]) -> list[str]:
        """The columns of some modalities."""
        return [name for m in absent for name in self.modalities[m]]

    def per_sample(self, value: Any, what: str) -> Any:
        """``value (N,)``, given as such or as the name of a column; raises UsageError for an unknown name."""
        if isinstance(value, str):
            if value not in self.source.names:
                raise UsageError(
                    f"There is no column '{value}' with the {what}.", did_you_mean(value, self.source.names)
                )
            value = self.source.whole(value)
        value = value.to_numpy() if hasattr(value, "to_numpy") else value
        if len(value) != len(self):
            raise DataError(f"There are {len(value)} {what}, but the data have {len(self)} rows.")
        return value
