"""Splits: carve the missing ones, stratified by class, with whole groups, and name what leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from mmbal.maths.groups import members

DRAWS = 200  # random choices of groups, of which the one that keeps the classes' shares best is taken

SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "development", "eval", "evaluation"),
    "calibration": ("calibration", "calib", "cal"),
    "test": ("test", "testing"),
}
NAMES = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
EVALUATION = ("eval", "evaluation")

# The splits of a store: held-out rows for calibration are its validation split.
ALIASES = {spelling: "val" if name == "calibration" else name for spelling, name in NAMES.items()}


def split_name(text: str) -> str:
    """``train``, ``val``, ``calibration`` or ``test`` for its usual spellings in any case; other names as they are."""
    return NAMES.get(text.strip().lower(), text.strip())


def split_names(column: Iterable[object]) -> np.ndarray:
    """The column of splits ``(N,)`` with each name as :func:`split_name` gives it.

    ``eval`` stands for the test split where the column has another name for the validation split and none for the test
    split, as the data sets of speech challenges have it (train, dev, eval).
    """
    given = [str(value).strip() for value in column]
    table = {text: split_name(text) for text in dict.fromkeys(given)}
    evaluation = [text for text in table if text.lower() in EVALUATION]
    others = [name for text, name in table.items() if text not in evaluation]
    if "val" in others and "test" not in others:
        table |= dict.fromkeys(evaluation, "test")
    return np.array([table[text] for text in given], dtype=str)


def carve(labels: np.ndarray, group: np.ndarray | None, fraction: float, seed: int = 0) -> np.ndarray:
    """Mask ``(N,)`` of about ``fraction`` of the rows: the same share of every class, or whole groups.

    Without groups each class gives its share, rounded so that the total is right, and keeps at least one row. With
    groups, of many random choices the one whose class shares are nearest to ``fraction`` is taken.
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    if group is not None:
        return _carve_groups(labels, group, fraction, rng)
    counts = np.unique(labels, return_counts=True)[1]
    wanted = counts * fraction
    taken = np.floor(wanted).astype(int)
    # Largest remainders, so that rounding moves no class by more than one row and the total by none.
    for index in np.argsort(taken - wanted, kind="stable")[: round(wanted.sum()) - taken.sum()]:
        taken[index] += 1
    for (_, rows), n, count in zip(members(labels), taken, counts, strict=True):
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
            done.append(f"the {name} split divides groups: train has fewer than three groups")
            whole = None
        rows = np.flatnonzero(train)
        picked = carve(labels[rows], None if whole is None else whole[rows], fraction, seed)
        split[rows[picked]] = name
        how = "by class" if whole is None else "whole groups"
        if not picked.any():
            done.append(f"no {name} split: {len(rows)} samples are too few to carve one from")
            continue
        done.append(f"{name} carved from train: {int(picked.sum())} of {len(rows)} samples, {how}, seed {seed}")
    return split, done


def split_hash(ids: Sequence[str], split: Sequence[str]) -> str:
    """Hash of who is in which split, whatever the order of the rows."""
    lines = sorted(f"{i}\t{s}\n" for i, s in zip(ids, split, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
