"""The members of each group, found in one pass over the samples, however many groups there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def members(labels: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    """Each value of ``labels (N,)`` in ascending order, with the positions that have it, ascending too.

    One sort of N values: a comparison of all samples with each of C values would take C passes.
    """
    order = np.argsort(labels, kind="stable")
    names, first = np.unique(labels[order], return_index=True)
    yield from zip(names, np.split(order, first[1:]), strict=True) if len(names) else ()
