"""Speakers that the names of files show, so that a split can keep each speaker on one side."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

PERSON = r"(?:s|spk|speaker|subj|subject|actor|person|talker|user|participant|patient|p|id)"
NUMBERED = re.compile(rf"{PERSON}\d+", re.IGNORECASE)  # s1, actor04
WORD = re.compile(PERSON, re.IGNORECASE)  # actor-04: the number follows
IDENTITY = re.compile(r"\d{3,}")  # 1001
NAME = re.compile(r"[A-Z]?[a-z]{2,}")  # jackson; capitals alone are mostly codes of sentences or conditions
FEWEST = 3  # speakers
TAKES = 1.2  # samples of a speaker in a class, on average: a running number has one


def speakers(names: Sequence[str], labels: Sequence[str]) -> list[str] | None:
    """The speaker of each sample, where every name has one at the same place; None where names show none.

    ``names``: paths without suffix, below the class's folder, with ``/`` between their parts. A place counts where it holds
    at least three speakers, most of whom have samples of two or more classes, and reads as ``s1``, ``actor-04``, a number
    of three or more digits, or a word. Numbers and words must repeat within a class; a running number does not.
    """
    parts = [re.split(r"[/_\-. ]+", name) for name in names]
    if not parts or len({len(p) for p in parts}) != 1:
        return None
    columns = list(zip(*parts, strict=True))
    for pattern, repeats in ((NUMBERED, False), (None, False), (IDENTITY, True), (NAME, True)):
        for k, column in enumerate(columns):
            if pattern is None:
                named = k > 0 and all(WORD.fullmatch(word) for word in columns[k - 1])
                fits = named and all(value.isdigit() for value in column)
            else:
                fits = all(pattern.fullmatch(value) for value in column)
            if fits and _plausible(column, labels, repeats):
                return list(column)
    return None


def _plausible(column: Sequence[str], labels: Sequence[str], repeats: bool) -> bool:
    pairs = Counter(zip(column, labels, strict=True))
    classes = Counter(value for value, _ in pairs)
    several = sum(n > 1 for n in classes.values())
    if len(classes) < FEWEST or len(classes) * FEWEST > len(column) or several * 3 < len(classes) * 2:
        return False
    return not repeats or len(column) / len(pairs) >= TAKES
