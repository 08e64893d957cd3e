"""A batch: samples of a store as tensors, with what is known already of their features."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor


@dataclass(repr=False)
class Batch:
    """B samples: ``inputs[m] (B, ...)``, ``labels (B,)``, ``index (B,)`` rows of the store, ``present[m] (B,)`` bool.

    Where a modality is missing its input is zeros and ``present`` is false. Of several processes each has a share of a
    batch of ``whole`` samples.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    index: Tensor
    present: dict[str, Tensor]
    encoded: Encoded | None = None
    whole: int = 0  # not known: the batch is no share of another

    @property
    def features(self) -> dict[str, Tensor]:
        """What is known already of what the encoders make of these inputs; nothing, once the inputs are other ones."""
        return self.encoded.features if self.encoded is not None and self.encoded.inputs is self.inputs else {}

    @property
    def share(self) -> float:
        """How much of the whole batch this one is, from 0 to 1."""
        return len(self) / self.whole if self.whole else 1.0

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """The rows of several batches as one, whose inputs are joined where something asks for them."""
        first = batches[0]
        if len(batches) == 1:
            return first
        return cls(
            unread(lambda: {m: torch.cat([b.inputs[m] for b in batches]) for m in first.inputs}),
            torch.cat([b.labels for b in batches]),
            torch.cat([b.index for b in batches]),
            {m: torch.cat([b.present[m] for b in batches]) for m in first.present},
            whole=sum(b.whole for b in batches),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:
        shapes = ", ".join(f"{m} {tuple(x.shape)}" for m, x in (self.features or self.inputs).items())
        return f"Batch of {len(self)} samples on {self.labels.device}: {shapes}"

    __repr__ = __str__

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        if self.labels.device == torch.device(device):
            return self
        moved = Batch(
            moved_to(device, self.inputs),
            self.labels.to(device, non_blocking=True),
            self.index.to(device, non_blocking=True),
            moved_to(device, self.present),
            whole=self.whole,
        )
        if self.features:
            moved.encoded = Encoded(moved.inputs, moved_to(device, self.features))
        return moved


def moved_to(device: torch.device | str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on another device; those that are not read yet are read there."""
    if isinstance(values, Unread):
        return unread(lambda: moved_to(device, dict(values)))
    return {m: x.to(device, non_blocking=True) for m, x in values.items()}


@dataclass(frozen=True)
class Encoded:
    """Features or tokens that are known of the ``inputs`` of a batch, which are the very object that the batch holds."""

    inputs: dict[str, Tensor]
    features: dict[str, Tensor]


class Unread(UserDict[str, Tensor]):
    """Inputs that are read from the store when something asks for one of them."""

    def __init__(self, read: Callable[[], dict[str, Tensor]]) -> None:
        self._read = read

    @cached_property
    def data(self) -> dict[str, Tensor]:  # type: ignore[override]
        return self._read()


def unread(read: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """A mapping that behaves as the dict that ``read`` returns, and calls it on first use."""
    return cast(dict[str, Tensor], Unread(read))


class Features(Protocol):
    """Where a loader finds what the encoders make of its inputs; see mmbal/engine/features.py."""

    def valid(self) -> bool: ...

    def of(self, rows: np.ndarray, seed: Sequence[int] | None) -> dict[str, Tensor]: ...
