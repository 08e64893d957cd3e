"""What looks wrong in predictions whose arrays all fit: labels of another order, useless modalities, ids that repeat.

Each test has a wide margin, so a model that is only bad raises no doubt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from mmbal.predictions.labels import ABSENT, alike
from mmbal.text import some

if TYPE_CHECKING:
    from mmbal.predictions.format import Predictions

Array = np.ndarray

FEWEST = 20  # samples below which no accuracy is judged
DEVIATIONS = 5.0  # standard errors that a suspicion needs
TIMES = 3.0  # how many times more often another order of the labels must be right, or less often wrong
MOST_CLASSES = 2000  # of which a table of all pairs is made
SMALLEST = 1e-9  # factor between two copies
TIES = 0.05  # share of samples


def doubt(predictions: Predictions) -> str:
    """Why the labels can't belong to the decisions as they stand; '' where nothing says so.

    Four faults are found: labels shifted by one class, labels shifted by one row, labels in reversed order, and columns in
    another order than the classes. With the fault the model is right no more often than by chance. With it corrected, it is
    right ``TIMES`` as often, or wrong ``TIMES`` less often.
    """
    decided, labels = _decided(predictions), predictions.labels
    n, c = len(labels), len(predictions.classes)
    if n < FEWEST or c < 3:
        return ""
    right = decided == labels
    as_is = float(right.mean())
    if as_is > 1 / c + 2 * np.sqrt((1 - 1 / c) / c / n):
        return ""
    for step, valid in ((-1, labels.min() >= 1), (1, labels.max() <= c - 2)):
        moved = labels + step
        if valid and _far_better(decided == moved, right, moved):
            return (
                f"The labels look shifted by one class: the model is right in {_share(as_is)} as they are, in "
                f"{_share(float((decided == moved).mean()))} with labels {'-' if step < 0 else '+'} 1."
            )
    for step in (-1, 1):
        moved = np.roll(labels, step)
        if _far_better(decided == moved, right, moved):
            return (
                f"The labels look shifted by one row: the model is right in {_share(as_is)} as they are, in "
                f"{_share(float((decided == moved).mean()))} with each row's label taken from the "
                f"{'next' if step < 0 else 'previous'} one."
            )
    turned = labels[::-1]
    if _far_better(decided == turned, right, turned):
        return (
            f"The labels look to be in reversed order: the model is right in {_share(as_is)} as they are, in "
            f"{_share(float((decided == turned).mean()))} with the last label first."
        )
    better = _with_other_order(decided, labels, c)
    if better is not None:
        return (
            f"The columns look to be in another order than the classes: the model is right in {_share(as_is)} as they are, "
            f"in {_share(better)} with the columns in the order that fits best."
        )
    return ""


def remarks(predictions: Predictions) -> list[str]:
    """What looks wrong, or should be known before the figures are used; one sentence without a full stop each."""
    return [*_about_rows(predictions), *_about_modalities(predictions)]


def _about_rows(p: Predictions) -> Iterator[str]:
    names, counts = np.unique(p.labels, return_counts=True)
    if len(p) and len(names) == 1 and len(p.classes) > 1:
        yield f"every sample is of class '{p.classes[names[0]]}': there is nothing to decide"
    elif len(names) < len(p.classes):
        absent = [name for k, name in enumerate(p.classes) if k not in set(names.tolist())]
        classes = "class has" if len(absent) == 1 else "classes have"
        yield f"{len(absent)} {classes} no sample: {some(list(map(repr, absent)))}"
    yield from about_classes(p.classes)
    seen: dict[str, str] = {}
    for split in p.splits():
        ids, counts = np.unique(p.ids[p.split == split], return_counts=True)
        if (counts > 1).any():
            twice = ids[counts > 1]
            ids_occur = "id occurs" if len(twice) == 1 else "ids occur"
            yield f"{len(twice)} {ids_occur} more than once in the split '{split}' (first: '{twice[0]}')"
        shared = [name for name in ids.tolist() if name in seen]
        if shared:
            samples = "sample" if len(shared) == 1 else "samples"
            yield f"the split '{split}' shares {len(shared)} {samples} with '{seen[shared[0]]}' (first: '{shared[0]}')"
        seen |= dict.fromkeys(ids.tolist(), split)
        rows = p.split == split
        if (
            p.group is not None
            and rows.sum() > 1
            and len(np.unique(p.group)) > 1
            and len(np.unique(p.group[rows])) == 1
        ):
            yield (
                f"all samples of the split '{split}' are of one group ('{p.group[rows][0]}'): its figures and intervals say "
                "nothing about another group"
            )


def about_classes(classes: Collection[str]) -> Iterator[str]:
    """Words for classes that may be one under two spellings, and for those that may be missing labels."""
    for spellings in alike(classes):
        yield f"the classes {' and '.join(repr(name) for name in spellings)} differ only in their spelling"
    for name in classes:
        if name.casefold() in ABSENT:
            yield f"the class '{name}' may stand for labels that are missing"


def _about_modalities(p: Predictions) -> Iterator[str]:
    mask = p.present_mask()
    if bare := int((~mask.any(axis=1)).sum()):
        yield f"{bare} {'sample has' if bare == 1 else 'samples have'} no modality at all"
    for spellings in alike(p.modalities):
        yield f"the modalities {' and '.join(map(repr, spellings))} differ only in their spelling"
    for k, m in enumerate(p.modalities):
        here = np.flatnonzero(mask[:, k])
        logits, labels = p.logits[m][here], p.labels[here]
        if not len(here):
            yield f"the modality '{m}' is missing from every sample"
            continue
        if len(here) > 1 and np.ptp(logits, axis=0).max() == 0:
            yield f"'{m}' has the same scores for every sample, so it carries no information"
            continue
        zero = (logits == 0).all(axis=1)
        if zero.any():
            yield (
                f"'{m}' has scores of zero throughout in {int(zero.sum())} of {len(here)} samples; if it is missing there, "
                f"say so in 'present_{m}'"
            )
        high = logits.max(axis=1, keepdims=True)
        tied = ((logits == high).sum(axis=1) > 1) & ~zero
        if tied.mean() > TIES:
            yield f"'{m}' has two or more classes with the same highest score in {_share(float(tied.mean()))} of its samples"
        if better := other_order(logits, labels):
            as_is = float((logits.argmax(axis=1) == labels).mean())
            yield (
                f"'{m}' looks to have its columns in another order than the classes: it is right in {_share(as_is)} as they "
                f"are, in {_share(better)} with the columns in the order that fits best"
            )
        elif against := against_truth(logits, labels):
            yield f"'{m}' {against}"
        for other in p.modalities[:k]:
            if p.logits[other].shape == p.logits[m].shape and np.array_equal(p.logits[other], p.logits[m]):
                yield f"'{other}' and '{m}' have the same scores: is one a copy of the other?"
            elif times := _multiple(p.logits[other][here], p.logits[m][here]):
                yield f"the scores of '{m}' are those of '{other}'{times}: is one a copy of the other?"
    whole = p.subsets.get(p.modalities)
    if whole is not None and p.fused is not None and np.abs(whole - p.fused).max() > 1e-2 * max(1, np.abs(whole).max()):
        yield f"'subset_{'+'.join(p.modalities)}' is not 'fused', although it has all modalities"


def _multiple(first: Array, second: Array) -> str:
    """Words where the second scores ``(n, C)`` are the first ones times a number, up to what a softmax passes over."""
    a, b = (table - table.mean(axis=1, keepdims=True) for table in (first, second))
    power = float((a * a).sum())
    times = float((a * b).sum()) / power if power else 0.0
    if len(a) < FEWEST or abs(times) < SMALLEST or not np.allclose(times * a, b, rtol=0, atol=1e-5 * np.abs(b).max()):
        return ""
    return " plus a number a row" if abs(times - 1) < 1e-5 else f" times {times:.3g}"


def against_truth(logits: Array, labels: Array) -> str:
    """Words for scores ``(n, C)`` that are lower for the true class than for the others, beyond chance; else ''.

    Rows and columns are centred first, so that a preference for some classes is not counted.
    """
    if len(labels) < FEWEST or len(np.unique(labels)) < 2:
        return ""
    row = logits.mean(axis=1)
    true = logits[np.arange(len(labels)), labels] - row - (logits.mean(axis=0) - row.mean())[labels]
    error = true.std() / np.sqrt(len(true))
    if error == 0 or true.mean() > -DEVIATIONS * error:
        return ""
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    return (
        f"is worse than chance: its scores are lower for the true class than for others (right in {_share(accuracy)}); are "
        "its columns in another order, or its sign turned?"
    )


def other_order(logits: Array, labels: Array) -> float | None:
    """Accuracy of scores ``(n, C)`` with the columns in the order that fits best, where that is far better; else None."""
    n, c = logits.shape
    return None if n < FEWEST or c < 3 else _with_other_order(logits.argmax(axis=1), labels, c)


def _with_other_order(decided: Array, labels: Array, c: int) -> float | None:
    """Accuracy with the order of the columns that fits one half best, where it is far better on the other half too."""
    if c > MOST_CLASSES:
        return None
    half, right = np.arange(len(labels)) % 2 == 0, decided == labels
    table = np.zeros((c, c))
    np.add.at(table, (decided[half], labels[half]), 1)
    most, before = table.max(axis=1).sum() / half.sum(), right[half].mean()
    if most <= TIMES * before and 1 - most >= (1 - before) / TIMES:
        return None  # no order is far better even on the half that it would be fitted on
    renamed = _best_order(table)[decided]
    if not _far_better(renamed[~half] == labels[~half], right[~half], labels[~half]):
        return None
    return float((renamed == labels).mean())


def _decided(p: Predictions) -> Array:
    if p.fused is not None:
        return p.fused.argmax(axis=1)
    mask = p.present_mask()
    return np.sum([p.logits[m] * mask[:, [k]] for k, m in enumerate(p.modalities)], axis=0).argmax(axis=1)


def _far_better(right: Array, before: Array, labels: Array) -> bool:
    """Whether ``right`` is true far more often than ``before``, and than always the most frequent label would be."""
    gain = right.astype(float) - before
    error = max(float(gain.std()), 1 / np.sqrt(len(gain))) / np.sqrt(len(gain))
    most = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    return bool(
        gain.mean() > DEVIATIONS * error
        and (right.mean() > TIMES * before.mean() or 1 - right.mean() < (1 - before.mean()) / TIMES)
        and right.mean() > most + DEVIATIONS * np.sqrt(most * (1 - most) / len(labels))
    )


def _best_order(table: Array) -> Array:
    """The label of each column for which the counts ``(C, C)`` of decisions and labels sum to the most."""
    from scipy.optimize import linear_sum_assignment

    order: Array = linear_sum_assignment(-table)[1]
    return order


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
