"""Classes that the calibration split hardly has are named."""

from __future__ import annotations

import numpy as np

from mmbal.decision.calibration_split import sparse
from mmbal.predictions.format import Predictions


def test_classes_without_and_with_few_samples_are_named():
    labels = np.array([0] * 9 + [1] * 2)
    found = sparse(Predictions.from_arrays({"labels": labels, "logits_a": np.eye(3)[labels]}))
    assert found == (
        "The split 'test' has no sample of 1 class ('2') and fewer than 5 samples of 1 class ('1'): a rule fitted on it "
        "knows little about them."
    )
    assert (
        sparse(Predictions.from_arrays({"labels": np.arange(15) % 3, "logits_a": np.eye(3)[np.arange(15) % 3]})) == ""
    )
