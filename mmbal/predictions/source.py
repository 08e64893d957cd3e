"""From what a user has to predictions: a mapping of arrays, a DataFrame, a file of decisions, or of bare features."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmbal.predictions.features import is_feature_file
from mmbal.predictions.format import Predictions
from mmbal.predictions.heads import load_features
from mmbal.predictions.readers import predictions_from_frame


def predictions_of(value: Any, *, unlabelled: bool = False) -> Predictions:
    """What :meth:`Predictions.of` takes, a pandas DataFrame, or the path of a feature file.

    A DataFrame has the columns of the CSV of :mod:`mmbal.predictions.readers`. Features get a linear head; see
    :func:`mmbal.predictions.heads.predictions_from_features`. ``unlabelled``: whether the
    labels of a predictions file may be missing. Raises UsageError or DataError where there are no predictions.
    """
    if isinstance(value, (str, os.PathLike)) and is_feature_file(Path(value)):
        return load_features(Path(value))
    if hasattr(value, "iloc") and hasattr(value, "itertuples"):
        return predictions_from_frame(value, unlabelled=unlabelled)
    return Predictions.of(value, unlabelled=unlabelled)
