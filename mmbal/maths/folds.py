"""Folds for cross-fitting: balanced by class, whole groups, any number of rows per class.

Why not scikit-learn's StratifiedKFold and StratifiedGroupKFold: they refuse labels whose largest class has fewer rows
than there are folds, and warn where any class has. Calibration splits are often that small. Here one row a class is
enough, and there are fewer folds where there are fewer rows or groups.
"""

from __future__ import annotations

import numpy as np

from mmbal.errors import DataError

FOLDS = 5


def by_appearance(values: np.ndarray) -> np.ndarray:
    """Entries ``(N,)`` as whole numbers from 0, in the order in which they come first. Their names have no part in it."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def exchanged(present: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each row ``(N,)`` another one at random, which has the same modalities ``present (N, M)``: a permutation."""
    found = np.arange(len(present))
    for pattern in np.unique(present, axis=0):
        rows = np.flatnonzero((present == pattern).all(axis=1))
        found[rows] = rng.permutation(rows)
    return found


def folds_of(labels: np.ndarray, folds: int = FOLDS, seed: int = 0, group: np.ndarray | None = None) -> np.ndarray:
    """Fold ``0 .. F - 1`` of every row ``(N,)``; F is ``folds``, or the number of rows (groups) where they are fewer.

    Without groups, the shuffled rows of one class after the other are dealt out in turn: fold sizes differ by one at
    most, and so do the counts of every class. With groups, each goes, largest first, to the fold whose counts per
    class it brings nearest to even. A single group can't be parted: its rows are dealt out as without groups. Raises
    DataError where there are not two rows to part.
    """
    group = groups_of(group)
    rng = np.random.default_rng(seed)
    n, labels = len(labels), by_appearance(labels)
    if group is None:
        if n < 2:
            raise DataError(f"Cross-fitting needs at least two samples; there {'is' if n == 1 else 'are'} {n}.")
        order = rng.permutation(n)
        order = order[np.argsort(labels[order], kind="stable")]
        fold = np.empty(n, dtype=np.int64)
        fold[order] = np.arange(n) % min(folds, n)
        return fold
    members = by_appearance(group)
    counts = np.zeros((members.max() + 1, labels.max() + 1))
    np.add.at(counts, (members, labels), 1)
    folds = min(folds, len(counts))
    load = np.zeros((folds, counts.shape[1]))
    where = np.empty(len(counts), dtype=np.int64)
    order = rng.permutation(len(counts))
    for g in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        # scaled by class size, so that a rare class weighs as much as a frequent one
        uneven = (((load + counts[g]) ** 2 - load**2) / counts.sum(axis=0).clip(1)).sum(axis=1)
        where[g] = np.lexsort((load.sum(axis=1), uneven))[0]  # of equally even folds the emptiest, so that none is all
        load[where[g]] += counts[g]
    return where[members]


def groups_of(group: np.ndarray | None) -> np.ndarray | None:
    """The groups where there are at least two to part, else None."""
    return group if group is not None and len(np.unique(group)) > 1 else None
