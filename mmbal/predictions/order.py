"""One order of the samples for whatever draws them at random, so that no figure depends on the order in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mmbal.predictions.format import Predictions

Array = np.ndarray


def canonical(predictions: Predictions) -> Predictions:
    """The same samples in an order that follows from their scores alone.

    The order of the rows, of the classes and of the modalities does not change it, and neither do their names. Samples
    with the same scores and features are ordered by their ids and groups. The order is a shuffled one, so that samples
    beside each other are not alike.
    """
    return predictions.take(canonical_order(predictions))


def canonical_order(predictions: Predictions) -> Array:
    """The rows ``(N,)`` in the order of :func:`canonical`."""
    p, rows = predictions, np.arange(len(predictions))
    tables = [*([] if p.fused is None else [p.fused]), *p.logits.values(), *p.subsets.values()]
    truth = p.labels if p.labelled else tables[0].argmax(axis=1)
    true = np.sort(np.stack([table[rows, truth] for table in tables], axis=1), axis=1)
    peaks = np.sort(np.stack([table.max(axis=1) for table in tables], axis=1), axis=1)
    spread = np.sort(np.stack([(np.sort(table, axis=1) ** 2).sum(axis=1) for table in tables], axis=1), axis=1)
    features = [(np.sort(z, axis=1) ** 2).sum(axis=1) for z in p.features.values()]
    here = p.present_mask().sum(axis=1)
    names = [p.ids] if len(set(p.ids.tolist())) == len(p.ids) and not _numbered(p.ids) else []
    own = [part for table in tables for part in (table[rows, truth], table.max(axis=1))]
    frequency = np.bincount(truth)[truth]
    alike = [*true.T, *peaks.T, *spread.T, *features, here]
    # What is left are samples that differ at most in the order of their classes.
    weight = np.random.default_rng(0).random(len(p.classes))
    columns = [truth, *((table * weight).sum(axis=1) for table in tables)]
    keys = [*alike, *own, frequency, *names, *([] if p.group is None else [p.group]), *columns]
    return shuffled(keys)


def shuffled(keys: list[Array]) -> Array:
    """The rows ``(N,)`` sorted by ``keys``, the first of them first, and then shuffled in one fixed way."""
    order = np.lexsort(keys[::-1])
    return order[np.random.default_rng(len(order)).permutation(len(order))]


def _numbered(ids: Array) -> bool:
    """Whether the ids may only count the rows of a file."""
    return all(name.isdecimal() for name in ids.tolist())
