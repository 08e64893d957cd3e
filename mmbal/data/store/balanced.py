"""Each modality's confidence in the true class on held-out folds, and the view of a store that it balances."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from mmbal.data.store.loader import Loader
from mmbal.data.store.store import ModalitySpec, Store, write_view
from mmbal.errors import DataError
from mmbal.maths.discrepancy import discrepancy, uniform_draw
from mmbal.maths.folds import folds_of
from mmbal.predictions.format import Predictions
from mmbal.predictions.pairing import rows_of

WIDTH = 256  # inputs with more values than this are projected at random
BATCH = 256
PRIOR = 4.0  # variance that a logit has under the heads' prior, whatever the width

Array = np.ndarray


def unimodal_confidences(
    store: Store, rows: Array, modalities: tuple[str, ...], folds: int = 5, seed: int = 0
) -> dict[str, Array]:
    """``p_m[y] (N,)`` for the given rows and each modality, by linear heads that never saw the row's fold.

    A head is a logistic regression on the modality's inputs (a text's are its words' counts), more than ``WIDTH`` of
    them projected at random. It replaces a separately trained model of one modality where there is none: give
    :func:`balance_discrepancy` the predictions of real ones where there are any. 0 where the modality is missing.
    """
    labels = store.labels[rows].astype(np.int64)
    group = None if store.group is None else store.group[rows]
    fold = folds_of(labels, folds, seed, group)
    found = {}
    for m in modalities:
        have = store.present[m][rows]
        inputs = linear_inputs(store, m, rows, seed)
        confidence = np.zeros(len(rows))
        for k in range(fold.max() + 1):
            fit, held = have & (fold != k), have & (fold == k)
            if held.any():
                confidence[held] = _held_out(inputs[fit], labels[fit], inputs[held], labels[held])
        found[m] = confidence
    return found


def _held_out(inputs: Array, labels: Array, held: Array, truth: Array) -> Array:
    """Confidence in the true class of held-out rows; zero for a class that the head never saw."""
    if len(np.unique(labels)) < 2:
        return (truth == labels[0]).astype(np.float64) if len(labels) else np.zeros(len(truth))
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)
    std[std < 1e-6] = 1.0
    head = LogisticRegression(C=PRIOR / inputs.shape[1], max_iter=300, tol=1e-3).fit((inputs - mean) / std, labels)
    probability = head.predict_proba((held - mean) / std)
    column = np.searchsorted(head.classes_, truth).clip(max=len(head.classes_) - 1)
    return np.where(head.classes_[column] == truth, probability[np.arange(len(truth)), column], 0.0)


def linear_inputs(store: Store, m: str, rows: Array, seed: int = 0) -> Array:
    """The inputs of modality m as vectors ``(N, D)``, D <= ``WIDTH`` unless they are words; read batch by batch."""
    spec = store.require(m)
    loader = Loader(store, str(store.split[rows[0]]), BATCH, modalities=(m,))
    width = _width(spec)
    projection = None
    if width > WIDTH and spec.kind != "text":
        random = np.random.default_rng([seed, zlib.crc32(m.encode())])
        projection = (random.standard_normal((width, WIDTH)) / WIDTH**0.5).astype(np.float32)
    parts = []
    for start in range(0, len(rows), BATCH):
        values = loader.gather(rows[start : start + BATCH]).inputs[m].numpy()
        if spec.kind == "text":
            flat = np.stack([np.bincount(words[words > 0], minlength=width) for words in values]).astype(np.float32)
        else:
            flat = values.reshape(len(values), -1)
        parts.append(flat if projection is None else flat @ projection)
    return np.concatenate(parts)


def _width(spec: ModalitySpec) -> int:
    return int(spec.preprocessing["vocabulary"]) if spec.kind == "text" else int(np.prod(spec.shape))


def confidences_of(predictions: Predictions, store: Store, rows: Array) -> dict[str, Array]:
    """``p_m[y] (N,)`` of given predictions for rows of a store, matched by id; raises DataError where an id is missing."""
    try:
        own = predictions.take(rows_of(predictions, store.ids[rows].tolist()))
    except DataError as error:
        raise DataError(
            f"{error.message[:-1]} of {store.path}.",
            "Predict its train split with models that were not trained on it (cross-fitted), or leave them out.",
        ) from None
    logits: Mapping[str, Array] = own.logits
    found = {}
    for m, values in logits.items():
        likelihood = np.exp(values - values.max(axis=1, keepdims=True))
        found[m] = likelihood[np.arange(len(rows)), own.labels] / likelihood.sum(axis=1)
    return found


def balance_discrepancy(
    store: Store,
    out: Path,
    *,
    predictions: Predictions | None = None,
    bins: int = 5,
    repeats: int = 5,
    folds: int = 5,
    seed: int = 0,
) -> Store:
    """A view of ``store`` in whose train split each modality is preferred equally often; no array is copied.

    Train rows are drawn with repeats so that modality discrepancy is uniform over ``bins`` parts for each preferred
    modality; other splits stay as they are, so that figures remain comparable. Confidences come from ``predictions``
    (of models that did not train on these rows) or else from :func:`unimodal_confidences`. Counts by cell, before and
    after, are in the view's ``meta["discrepancy"]``. Raises UsageError where ``out`` exists or with one modality.
    Source: arXiv 2302.10912.
    """
    train = store.rows("train")
    modalities = tuple(sorted(store.modalities))
    confidence = (
        unimodal_confidences(store, train, modalities, folds, seed)
        if predictions is None
        else confidences_of(predictions, store, train)
    )
    found = discrepancy(confidence, {m: store.present[m][train] for m in confidence})
    cells = found.cells(bins)
    drawn = uniform_draw(cells, np.random.default_rng(seed), repeats=repeats)

    def table(rows: Array) -> dict[str, list[int]]:
        counts = np.bincount(cells[rows][cells[rows] >= 0], minlength=bins * len(found.modalities))
        return {m: counts[i * bins : (i + 1) * bins].tolist() for i, m in enumerate(found.modalities)}

    meta = {
        "discrepancy": {
            "bins": bins,
            "repeats": repeats,
            "seed": seed,
            "confidences": "given predictions" if predictions is not None else f"linear heads, {folds} folds",
            "before": table(np.arange(len(train))),
            "after": table(drawn),
        }
    }
    rows = np.concatenate([train[drawn], np.flatnonzero(store.split != "train")])
    return write_view(store, rows, out, name=f"{store.name}-balanced", meta=meta)
