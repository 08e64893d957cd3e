"""A batch of which each process holds a share, as one: means over some of its rows, and losses that compare rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Shared:
    """How the batch is shared: ``total`` sums a tensor over processes, ``share`` is this one's part of the samples."""

    total: Total = lambda value: value
    share: float = 1.0


_shared: ContextVar[Shared] = ContextVar("shared", default=Shared())  # noqa: B039, it is frozen


def shared_now() -> Shared:
    """How the batch that is trained on is shared."""
    return _shared.get()


@contextmanager
def shared_by_processes(total: Total, share: float) -> Iterator[None]:
    """While the block runs, a batch is a share of the whole one; ``total`` sums a tensor over processes.

    The loop trains within it, so that a loss need not be told of processes. Every process must run the same block.
    """
    token = _shared.set(Shared(total, share))
    try:
        yield
    finally:
        _shared.reset(token)


def mean_over(values: Tensor, rows: Tensor) -> Tensor:
    """The mean of ``values (B,)`` over the chosen ``rows (B,)`` of the whole batch, as this process's share of a loss.

    Gradients are averaged by the number of samples, so a share with few chosen rows must count less. Zero, with a
    gradient of zero, where no row is chosen.
    """
    chosen, samples = shared_now().total(torch.stack([rows.sum(), torch.full_like(rows.sum(), len(rows))]).float())
    return (values * rows).sum() * (samples / len(rows)) / chosen.clamp(min=1)


class WholeBatch:
    """The rows of all processes' shares, in the order of their numbers ``index (B,)`` in a store of ``rows``.

    ``total`` sums over processes (``run.sum``). Every process computes the loss of the whole batch; since gradients are
    averaged by the number of rows, :meth:`gather` scales those of a share so that the average is the loss's gradient.
    A row that occurs several times counts once, by the mean of its values.
    """

    def __init__(self, index: Tensor, rows: int, total: Total) -> None:
        self.total = total
        times = total(torch.bincount(index, minlength=rows))
        self.rows = times.nonzero().flatten()
        self.times = times[self.rows]
        self.place = torch.searchsorted(self.rows, index)
        self.scale = float(self.times.sum()) / len(index)

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, values: Tensor) -> Tensor:
        """``values (B, ...)`` of this share to those of the whole batch ``(N, ...)``; the others' are constants."""
        kind = values.dtype
        values = values if values.is_floating_point() else values.double()
        times = self.times.to(values.dtype).view(-1, *[1] * (values.dim() - 1))
        mine = values.new_zeros(len(self.rows), *values.shape[1:]).index_add(0, self.place, values) / times
        whole = self.total(mine)
        if not values.requires_grad:
            return whole.to(kind)
        return whole + self.scale * (mine - mine.detach())
