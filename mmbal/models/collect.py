"""Predictions from any torch model that has a decision for each modality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mmbal.data.store.loader import Batch, Loader
from mmbal.errors import DataError, UsageError
from mmbal.models.modes import evaluating
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.predictions.columns import plain
from mmbal.predictions.format import Predictions

WHOLE = ("weight_", "bias")  # arrays of the model, the same in every batch


def collect(
    model: nn.Module,
    loader: Iterable[Any],
    step: Callable[[nn.Module, Any], Mapping[str, Any]] | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Predictions:
    """Run ``model`` over ``loader`` in evaluation mode and gather what ``step(model, batch)`` gives for each batch.

    ``step`` returns a mapping with the keys of a predictions file (see :mod:`mmbal.predictions.format`): at least
    ``labels (B,)`` and ``logits_<m> (B, C)`` for each modality; ``fused``, ``contribution_<m>``, ``features_<m>``,
    ``present_<m>``, ``ids`` and ``group`` where it has them. ``weight_<m> (C, D)`` and ``bias (C,)`` are taken from the
    first batch. Of a :class:`mmbal.data.store.loader.Loader` the classes, the split and the ids are known, and a model of
    mmbal's own needs no ``step``. ``split``: of all samples, ``test`` where not given. Every module of the model is left
    in the mode that it had. Raises UsageError where ``step`` is needed and not given; DataError where the loader is
    empty, a batch has no key that others have, or an array has a wrong shape.
    """
    batches: list[dict[str, np.ndarray]] = []
    own = loader if isinstance(loader, Loader) else None
    if step is None:
        if not isinstance(model, MultimodalClassifier):
            raise UsageError("collect needs step(model, batch).", "It returns labels, logits_<modality>, fused...")
        step = own_step
    with evaluating(model), torch.no_grad():
        for batch in loader:
            given = dict(step(model, batch))
            if own is not None and "ids" not in given:
                given["ids"] = own.store.ids[batch.index.cpu().numpy()]
            batches.append({key: plain(value, key) for key, value in given.items()})
    if own is not None:
        classes, split = classes or own.classes, split or own.split
    if not batches:
        raise DataError("The loader gave no batch.")
    first = batches[0]
    for number, given in enumerate(batches):
        if given.keys() != first.keys():
            odd = sorted(given.keys() ^ first.keys())[0]
            raise DataError(f"Batch {number} and batch 0 differ in '{odd}', which only one of them has.")
    arrays = {
        key: first[key] if key.startswith(WHOLE) else np.concatenate([given[key] for given in batches]) for key in first
    }
    if classes is not None:
        arrays["classes"] = np.array(list(classes))
    if split is not None:
        arrays["split"] = np.full(len(next(iter(arrays.values()))), split)
    return Predictions.from_arrays(arrays, {"producer": "mmbal.collect", **(meta or {})}, examine=True)


def own_step(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """What a model of mmbal's own gives for a batch of a store."""
    output = model(batch)
    found = {"labels": batch.labels, "fused": output.fused}
    for m, logits in output.logits.items():
        found |= {f"logits_{m}": logits, f"features_{m}": output.features[m], f"present_{m}": batch.present[m]}
        if output.contribution is not None:
            found[f"contribution_{m}"] = output.contribution[m]
        if m in output.weights:
            found[f"weights_{m}"] = output.weights[m]
    return found
