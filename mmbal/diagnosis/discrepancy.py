"""Accuracy by modality discrepancy: does the fused model beat a modality's own model where that modality knows best?

Xia et al., 2023, arXiv 2302.10912: methods against imbalance beat the unimodal models overall, yet lose to the weak
modality's own model on the samples that it prefers.
"""

from __future__ import annotations

import numpy as np

from mmbal.config import Config
from mmbal.data.predictions import Array, Predictions
from mmbal.diagnosis.coalitions import correct, decision_of, log_likelihood
from mmbal.diagnosis.significance import Bootstrap, Estimate
from mmbal.errors import UsageError
from mmbal.maths.discrepancy import discrepancy


class DiscrepancyBin(Config):
    """The samples that ``modality`` prefers by a discrepancy in ``[low, high)``."""

    modality: str
    low: float
    high: float
    samples: int
    fused: Estimate
    alone: dict[str, Estimate]
    gain: Estimate  # of the fused model over the preferred modality's own


def accuracy_by_discrepancy(
    predictions: Predictions,
    unimodal: Predictions | None = None,
    *,
    bins: int = 4,
    replicates: int = 1000,
    seed: int = 0,
) -> list[DiscrepancyBin]:
    """The fused accuracy and that of the unimodal models in each bin that holds samples, with bootstrap intervals.

    ``unimodal`` are predictions of the separately trained models on the same samples in the same order (``mmbal
    pretrain``); without them the fused model's own unimodal decisions stand in. Raises UsageError where the samples
    differ, or where there are fewer than two modalities.
    """
    alone = predictions if unimodal is None else unimodal
    if alone.modalities != predictions.modalities or not np.array_equal(alone.ids, predictions.ids):
        raise UsageError("The unimodal predictions are not of the same samples and modalities.")
    labels, fused = predictions.labels, decision_of(predictions).fused
    present = dict(zip(predictions.modalities, predictions.present_mask().T, strict=True))
    confidence = {m: np.exp(log_likelihood(alone.logits[m], labels)) for m in alone.modalities}
    found = discrepancy(confidence, present)
    right = {m: correct(alone.logits[m], labels) for m in alone.modalities}
    whole = correct(fused, labels)
    boot = Bootstrap.of(len(labels), predictions.group, replicates, seed)

    def estimate(values: Array, rows: Array) -> Estimate:
        result = boot.estimate(boot.means(values[rows], rows))
        assert result is not None
        return result

    rows_of = found.cells(bins)
    result = []
    for cell in np.unique(rows_of[rows_of >= 0]):
        rows = np.flatnonzero(rows_of == cell)
        m, part = found.modalities[cell // bins], int(cell % bins)
        result.append(
            DiscrepancyBin(
                modality=m,
                low=part / bins,
                high=(part + 1) / bins,
                samples=len(rows),
                fused=estimate(whole, rows),
                alone={n: estimate(right[n], rows) for n in alone.modalities},
                gain=estimate(whole - right[m], rows),
            )
        )
    return result
