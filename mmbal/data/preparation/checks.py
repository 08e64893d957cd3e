"""Data checks: what is wrong with single samples, and what only a comparison of all samples shows."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.manifest import Row
from mmbal.predictions.labels import ABSENT, alike
from mmbal.text import plural

IMBALANCE = 10.0  # largest class over smallest, in train
MISMATCH = 0.5  # seconds by which sound and picture of a sample may differ in length
OVERLAP = 0.1  # share of the shorter of two pieces of a clip, above which they count as overlapping
DEGENERATE = ("silent", "black")  # always alike, so not compared with others


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
        for kind, reason in answer.get("notes", ()):  # the journal of an older run has none
            found.append(Finding("note", kind, where, reason, m))
        if not any(kind in DEGENERATE for kind, _ in answer["remarks"]):
            comparable.append(m)
    heard, seen = (answers.get(m, {}).get("seconds") for m in ("audio", "video"))
    if heard and seen and abs(heard - seen) > max(MISMATCH, 0.1 * max(heard, seen)):
        found.append(Finding("warning", "length mismatch", row.id, f"{heard:.2f} s of sound, {seen:.2f} s of video"))
    return found, comparable


def collapsed(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, where equal notes on several files become one note with their number."""
    same = Counter((f.kind, f.reason, f.modality) for f in findings if f.level == "note")
    kept = []
    for finding in findings:
        times = same.pop((finding.kind, finding.reason, finding.modality), 0) if finding.level == "note" else 1
        if times > 1:
            others = plural(times - 1, "other file", "other files")
            finding = replace(finding, reason=f"{finding.reason} (and so for {others})")
        if times:
            kept.append(finding)
    return kept


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
            samples = plural(counts[index], "sample")
            found.append(Finding("warning", "class not in train", name, f"{samples}, none to learn from"))
    if len(classes) == 1:
        found.append(
            Finding("warning", "one class", classes[0], "every sample has this class: there is nothing to learn")
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
                reason = f"{plural(len(shared), 'group')} also in train: {names}"
                reason += f"; {known_leak}" if known_leak else ""
                found.append(Finding("note" if known_leak else "warning", "group leak", str(other), reason))
    return found


def spellings(labels: np.ndarray, classes: Sequence[str], group: np.ndarray | None) -> list[Finding]:
    """Classes and groups that may be one under two spellings, and classes that may be missing values."""
    counts = dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
    found = []
    for names in alike(classes):
        told = ", ".join(f"'{name}' ({plural(counts[name], 'sample')})" for name in names)
        found.append(Finding("warning", "two spellings", names[0], f"{told} count as different classes"))
    for name in classes:
        if name.casefold() in ABSENT:
            reason = f"the class of {plural(counts[name], 'sample')} may be a missing label"
            found.append(Finding("warning", "missing label", name, reason))
    for names in alike(np.unique(group).tolist() if group is not None else ()):
        told = ", ".join(f"'{name}'" for name in names)
        found.append(Finding("warning", "two spellings", names[0], f"{told} count as different groups"))
    return found


def repeats(rows: Sequence[Row], ids: np.ndarray, split: np.ndarray) -> list[Finding]:
    """Clips that are listed twice, and overlapping pieces of one clip in different splits."""
    places: dict[Any, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if any(source.path for source in row.sources.values()):
            places[_files(row)].append(index)
    found = []
    for members in places.values():
        if len(members) < 2:
            continue
        open_pieces: list[int] = []
        for index in sorted(members, key=lambda k: (_range(rows[k]), k)):
            begin = _range(rows[index])[0]
            open_pieces = [k for k in open_pieces if _range(rows[k])[1] > begin]
            twin = next((k for k in open_pieces if _range(rows[k]) == _range(rows[index])), None)
            if twin is not None:
                found.append(_listed_twice(rows, ids, split, twin, index))
            else:
                found += _overlapping(rows, ids, split, open_pieces, index)
                open_pieces.append(index)
    return found


def _files(row: Row) -> tuple[Any, ...]:
    return tuple((m, os.path.realpath(s.path) if s.path else "", s.key, s.text) for m, s in sorted(row.sources.items()))


def _range(row: Row) -> tuple[float, float]:
    """Seconds from and to which a row takes its clip."""
    source = next(source for source in row.sources.values() if source.path)
    return source.start or 0.0, math.inf if source.end is None else source.end


def _listed_twice(rows: Sequence[Row], ids: np.ndarray, split: np.ndarray, first: int, second: int) -> Finding:
    across = split[first] != split[second]
    lines = f" (lines {rows[first].line} and {rows[second].line})" if rows[first].line and rows[second].line else ""
    labels = [rows[first].label, rows[second].label]
    kind, told = "listed twice", f"with the label '{labels[0]}' both times"
    if labels[0] != labels[1]:
        kind, told = "two labels", f"with the labels '{labels[0]}' and '{labels[1]}'"
    if across:
        kind, told = "leak", f"{told}, in {split[first]} and in {split[second]}"
    return Finding("warning", kind, str(ids[second]), f"the clip of {ids[first]}, listed twice{lines} {told}")


def _overlapping(
    rows: Sequence[Row], ids: np.ndarray, split: np.ndarray, earlier: Sequence[int], index: int
) -> list[Finding]:
    """A finding where a piece overlaps one of ``earlier`` that is in another split."""
    begin, end = _range(rows[index])
    for other in earlier:
        start, stop = _range(rows[other])
        shared = min(end, stop) - max(begin, start)
        if split[other] != split[index] and shared > OVERLAP * min(end - begin, stop - start):
            time = f"{shared:.2f} s of it" if shared < math.inf else "a part of it"
            reason = f"the same clip as {ids[other]} ({split[other]}), {time} in both"
            return [Finding("warning", "leak", f"{ids[index]} ({split[index]})", reason)]
    return []


def leaks(
    ids: np.ndarray,
    split: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    digest: Mapping[str, np.ndarray],
    rows: Sequence[Row] = (),
) -> list[Finding]:
    """Samples whose content is the same; across splits that is a leak. For what ``rows`` list twice see
    :func:`repeats`.
    """
    found = []
    for m, values in digest.items():
        there = np.flatnonzero(values != "")
        _, first, inverse = np.unique(values[there], return_index=True, return_inverse=True)
        for row, original in zip(there.tolist(), there[first[inverse]].tolist(), strict=True):
            if row == original or (rows and rows[row].sources == rows[original].sources):
                continue
            across = split[row] != split[original]
            reason = f"the same content as {ids[original]}" + (f" ({split[original]})" if across else "")
            if labels[row] != labels[original]:
                reason += f", which has the label '{classes[labels[original]]}', not '{classes[labels[row]]}'"
            where = f"{ids[row]} ({split[row]})" if across else str(ids[row])
            found.append(Finding("warning", "leak" if across else "duplicate", where, reason, m))
    return found


def verdict(findings: Sequence[Finding], classes: int) -> str:
    """One sentence: whether the data can be used for training."""
    errors = sum(f.level == "error" for f in findings)
    warnings = sum(f.level == "warning" for f in findings)
    empty = [f.where for f in findings if f.kind == "empty class"]
    if empty:
        have = "has" if len(empty) == 1 else "have"
        return f"Not usable: {len(empty)} of {classes} classes {have} no sample ({', '.join(empty[:5])})."
    leaking = sum(f.level == "warning" and f.kind in ("leak", "group leak") for f in findings)
    if leaking:
        return f"Usable, but test figures would be too good: {plural(leaking, 'leak')} between splits."
    if errors or warnings:
        return f"Usable; {plural(errors, 'file or sample', 'files or samples')} lost, {warnings} suspicious."
    return "Clean: nothing missing, nothing suspicious."
