"""Splits: carve what is missing, stratified by class and never through a group, and name what leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

DRAWS = 200  # random choices of groups, of which the one that keeps the classes' shares best is taken

ALIASES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def carve(labels: np.ndarray, group: np.ndarray | None, fraction: float, seed: int = 0) -> np.ndarray:
    """Mask ``(N,)`` of about ``fraction`` of the rows: the same share of every class, or whole groups.

    Without groups each class gives its share, rounded so that the total is right, and keeps at least one row. With
    groups, of many random choices the one whose class shares are nearest to ``fraction`` is taken.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    if group is not None:
        return _carve_groups(labels, group, fraction, rng)
    classes, counts = np.unique(labels, return_counts=True)
    wanted = counts * fraction
    taken = np.floor(wanted).astype(int)
    # Largest remainders, so that rounding moves no class by more than one row and the total by none.
    for index in np.argsort(taken - wanted, kind="stable")[: round(wanted.sum()) - taken.sum()]:
        taken[index] += 1
    for label, n, count in zip(classes, taken, counts, strict=True):
        rows = np.flatnonzero(labels == label)
        chosen[rng.permutation(rows)[: min(n, count - 1)]] = True
    return chosen


def _carve_groups(labels: np.ndarray, group: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    names, member = np.unique(group, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    table = np.zeros((len(names), len(classes)))
    np.add.at(table, (member, label), 1)
    total = table.sum(axis=0)
    best, best_error = np.zeros(len(names), dtype=bool), np.inf
    for _ in range(DRAWS):
        order = rng.permutation(len(names))
        cut = int(np.argmin(np.abs(np.cumsum(table[order].sum(axis=1)) - fraction * len(labels)))) + 1
        picked = order[: min(cut, len(names) - 1)]
        error = float(np.abs(table[picked].sum(axis=0) / total - fraction).sum())
        if error < best_error:
            best_error = error
            best = np.isin(np.arange(len(names)), picked)
    return best[member]


def complete(
    labels: np.ndarray, split: np.ndarray, group: np.ndarray | None, *, val: float, test: float, seed: int = 0
) -> tuple[np.ndarray, list[str]]:
    """Fill in the splits that are not given: ``split`` is '' where unknown. Returns the split and what was done.

    Rows without a split go to train; ``test`` and ``val`` are carved from train where no row has them. A test split of
    given train rows is never carved where the manifest has a val split only.
    """
    split = np.where(split == "", "train", split).astype("<U8")
    done = []
    for name, fraction in (("test", test), ("val", val)):
        train = split == "train"
        if (split == name).any() or not train.any() or fraction <= 0:
            continue
        whole = group
        if whole is not None and len(np.unique(whole[train])) < 3:
            done.append(f"the {name} split could not keep groups together: train has fewer than three")
            whole = None
        rows = np.flatnonzero(train)
        picked = carve(labels[rows], None if whole is None else whole[rows], fraction, seed)
        split[rows[picked]] = name
        how = "by class" if whole is None else "whole groups"
        if not picked.any():
            done.append(f"no {name} split: {len(rows)} rows are too few to carve one from")
            continue
        done.append(f"{name} carved from train: {int(picked.sum())} of {len(rows)} rows, {how}, seed {seed}")
    return split, done


def split_hash(ids: Sequence[str], split: Sequence[str]) -> str:
    """Hash of who is in which split, whatever the order of the rows."""
    lines = sorted(f"{i}\t{s}\n" for i, s in zip(ids, split, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
