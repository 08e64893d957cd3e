"""From what a user has to predictions: a mapping of arrays, a file of decisions, or a file of bare features."""

from __future__ import annotations

import os

from mmbal.predictions.features import is_feature_file
from mmbal.predictions.format import Predictions, Source
from mmbal.predictions.heads import load_features


def predictions_of(value: Source) -> Predictions:
    """What :meth:`Predictions.of` takes, or the path of a feature file, whose features get a linear head.

    See :func:`mmbal.predictions.heads.predictions_from_features`. Raises UsageError or DataError where there are no
    predictions.
    """
    if isinstance(value, (str, os.PathLike)) and is_feature_file(value):
        return load_features(value)
    return Predictions.of(value)
