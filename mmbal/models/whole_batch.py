"""A batch of which each process holds a share, as one: for losses that compare the rows of a batch with one another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class WholeBatch:
    """The rows of all processes' shares, in the order of their numbers ``index (B,)`` in a store of ``rows``.

    ``total`` sums over processes (``run.sum``). Every process computes the loss of the whole batch; since gradients are
    averaged by the number of rows, :meth:`gather` scales those of a share so that the average is the loss's gradient.
    A row that occurs several times counts once, by the mean of its values.
    """

    def __init__(self, index: Tensor, rows: int, total: Callable[[Tensor], Tensor]) -> None:
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
