"""The data doctor: what is wrong with single samples, and what only shows when all are seen together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.manifest import Row

IMBALANCE = 10.0  # largest class over smallest, in train
MISMATCH = 0.5  # seconds by which sound and picture of a sample may differ in length
DEGENERATE = ("silent", "black")  # alike by nature: not compared with others


def row_findings(row: Row, answers: Mapping[str, Any]) -> tuple[list[Finding], list[str]]:
    """Findings of one encoded row, and the modalities whose content may be compared with other rows'."""
    found, comparable = [], []
    for m, answer in answers.items():
        source = row.sources[m]
        where = source.path or row.id
        if "lost" in answer:
            kind, reason = answer["lost"]
            found.append(Finding("error", kind, where, reason, m))
            continue
        for kind, reason in answer["remarks"]:
            found.append(Finding("warning", kind, where, reason, m))
        if not any(kind in DEGENERATE for kind, _ in answer["remarks"]):
            comparable.append(m)
    heard, seen = (answers.get(m, {}).get("seconds") for m in ("audio", "video"))
    if heard and seen and abs(heard - seen) > max(MISMATCH, 0.1 * max(heard, seen)):
        found.append(Finding("warning", "length mismatch", row.id, f"{heard:.2f} s of sound, {seen:.2f} s of video"))
    return found, comparable


def whole(
    labels: np.ndarray, split: np.ndarray, group: np.ndarray | None, classes: Sequence[str], known_leak: str = ""
) -> list[Finding]:
    """Empty classes, imbalance, and groups on both sides of a split (a note where ``known_leak`` says why)."""
    found = []
    counts = np.bincount(labels, minlength=len(classes))
    train = np.bincount(labels[split == "train"], minlength=len(classes))
    for index, name in enumerate(classes):
        if not counts[index]:
            found.append(Finding("error", "empty class", name, "no usable sample"))
        elif not train[index]:
            found.append(Finding("warning", "class not in train", name, f"{counts[index]} samples, none to learn from"))
    if len(classes) == 1:
        found.append(
            Finding("warning", "one class", classes[0], "every sample is of it: there is nothing to tell apart")
        )
    some = train[train > 0]
    if len(some) and some.max() > IMBALANCE * some.min():
        reason = f"the largest class has {some.max()} training samples, the smallest {some.min()}"
        found.append(Finding("warning", "imbalance", "train", reason))
    if group is not None:
        for other in np.unique(split[split != "train"]):
            shared = np.intersect1d(group[split == "train"], group[split == other])
            shared = shared[shared != ""]
            if len(shared):
                names = ", ".join(shared[:3].tolist()) + (", ..." if len(shared) > 3 else "")
                reason = f"{len(shared)} groups also in train: {names}" + (f"; {known_leak}" if known_leak else "")
                found.append(Finding("note" if known_leak else "warning", "group leak", str(other), reason))
    return found


def leaks(ids: np.ndarray, split: np.ndarray, digest: Mapping[str, np.ndarray]) -> list[Finding]:
    """Samples whose content is the same; across splits that is a leak."""
    found = []
    for m, values in digest.items():
        rows = np.flatnonzero(values != "")
        _, first, inverse = np.unique(values[rows], return_index=True, return_inverse=True)
        for row, original in zip(rows, rows[first[inverse]], strict=True):
            if row == original:
                continue
            across = split[row] != split[original]
            reason = f"the same content as {ids[original]}" + (f" ({split[original]})" if across else "")
            where = f"{ids[row]} ({split[row]})" if across else str(ids[row])
            found.append(Finding("warning", "leak" if across else "duplicate", where, reason, m))
    return found


def verdict(findings: Sequence[Finding], classes: int) -> str:
    """One sentence: can one train on this?"""
    errors = sum(f.level == "error" for f in findings)
    warnings = sum(f.level == "warning" for f in findings)
    empty = [f.where for f in findings if f.kind == "empty class"]
    if empty:
        return f"Not usable as it is: {len(empty)} of {classes} classes have no sample ({', '.join(empty[:5])})."
    leaking = sum(f.level == "warning" and f.kind in ("leak", "group leak") for f in findings)
    if leaking:
        return f"Usable, but test figures would be too good: {leaking} leaks between splits."
    if errors or warnings:
        return f"Usable; {errors} files or rows lost, {warnings} suspicious."
    return "Clean: nothing missing, nothing suspicious."
