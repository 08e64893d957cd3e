"""The decision layer as a scikit-learn estimator: for pipelines, grids, and as the last step of a StackingClassifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from mmbal.decision.fitting import fit_rule
from mmbal.errors import MmbalError
from mmbal.predictions.format import Predictions

FLOOR = 1e-12  # of a probability, whose logarithm is taken

Array = np.ndarray


class DecisionLayer(ClassifierMixin, BaseEstimator):
    """A decision rule, fitted on the scores that each modality alone gives to held-out samples.

    ``X (N, D)``: for each modality a block of C columns, in the order of ``classes_`` (sorted, as of every classifier of
    scikit-learn), or one column for two classes: the score of the second. Or a mapping modality -> ``(N, C)``. Where all
    columns of a modality are NaN in a row, it is missing there. ``modalities``: name -> its columns of ``X`` (positions, a
    slice, or names of a DataFrame); without it, blocks of equal width. ``scores``: "logits" (or log-probabilities), or
    "probabilities". ``rule`` and ``options``: a decision rule and its hyper-parameters.

    After ``fit``: ``classes_``, ``rule_`` (the fitted rule; ``rule_.explain()`` says what it does), ``modalities_``.
    Raises ValueError for columns that do not fit, as estimators of scikit-learn do.

    >>> from mmbal.sklearn import DecisionLayer
    >>> labels = np.arange(200) % 2
    >>> sound, face = np.eye(2)[labels], np.eye(2)[np.arange(200) // 2 % 2]  # always right, right in half
    >>> layer = DecisionLayer("pool").fit(np.hstack([sound, face]), labels)
    >>> layer.score(np.hstack([sound, face]), labels)
    1.0
    """

    def __init__(
        self,
        rule: str = "adaptive",
        modalities: Mapping[str, Any] | None = None,
        scores: Literal["logits", "probabilities"] = "logits",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.rule = rule
        self.modalities = modalities
        self.scores = scores
        self.options = options

    def fit(self, X: Any, y: Any) -> DecisionLayer:
        """Fit the rule; ``y (N,)`` are the labels of samples that the models behind ``X`` were not trained on.

        Raises ValueError for columns or labels that do not fit, and for an unknown rule or option.
        """
        table, y = validate_data(self, self._joined(X), y, dtype=np.float64, ensure_all_finite=False)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y has one class only; a decision layer needs two classes or more.")
        self.modalities_ = self._columns(X)
        try:
            self.rule_ = fit_rule(self._predictions(table, labels), self.rule, **(self.options or {}))
        except MmbalError as error:
            raise ValueError(f"{error.message} {error.hint}".strip()) from None
        return self

    def predict_log_proba(self, X: Any) -> Array:
        """Log-probabilities ``(N, C)`` in the order of ``classes_``.

        Raises NotFittedError before ``fit``, ValueError for other columns than those of the fit.
        """
        check_is_fitted(self)
        table = validate_data(self, self._joined(X), dtype=np.float64, ensure_all_finite=False, reset=False)
        try:
            found: Array = self.rule_.apply(self._predictions(table))
        except MmbalError as error:
            raise ValueError(f"{error.message} {error.hint}".strip()) from None
        return found

    def predict_proba(self, X: Any) -> Array:
        """Probabilities ``(N, C)`` in the order of ``classes_``."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> Array:
        """The most probable class of each sample ``(N,)``."""
        log_p = self.predict_log_proba(X)
        found: Array = self.classes_[log_p.argmax(axis=1)]
        return found

    def _joined(self, X: Any) -> Any:
        """``X`` as one table; the modalities of a mapping stand next to each other."""
        if not _by_modality(X):
            return X
        blocks = {m: np.asarray(block, dtype=np.float64) for m, block in X.items()}
        names = getattr(self, "modalities_", blocks) if self.modalities is None else self.modalities
        if set(names) != set(blocks):
            raise ValueError(f"X has the modalities {sorted(blocks)}, but {sorted(names)} are expected.")
        return np.concatenate([blocks[m].reshape(len(blocks[m]), -1) for m in names], axis=1)

    def _columns(self, X: Any) -> dict[str, Array]:
        """Modality -> positions of its columns."""
        every = np.arange(self.n_features_in_)
        if _by_modality(X):
            widths = {m: int(np.prod(np.shape(X[m])[1:])) for m in self.modalities or X}
            return dict(zip(widths, np.split(every, np.cumsum(list(widths.values()))[:-1]), strict=True))
        if self.modalities is None:
            width = 1 if len(self.classes_) == 2 and len(every) % 2 else len(self.classes_)
            if len(every) % width:
                raise ValueError(
                    f"X has {len(every)} columns, which are no blocks of {width} classes. Name the columns of each "
                    "modality: modalities={'audio': [0, 1, 2], ...}."
                )
            return {f"m{k}": block for k, block in enumerate(np.split(every, len(every) // width))}
        names = list(getattr(self, "feature_names_in_", []))
        found = {}
        for m, given in self.modalities.items():
            known = [names.index(c) if isinstance(c, str) else c for c in ([] if isinstance(given, slice) else given)]
            found[m] = every[given if isinstance(given, slice) else known]
        return found

    def _block(self, block: Array) -> Array:
        """The logits ``(N, C)`` of one modality's columns."""
        if np.isposinf(block).any():
            raise ValueError("Input X contains infinity.")
        if self.scores == "probabilities":
            block = np.log(np.maximum(block, FLOOR)) - (
                np.log(np.maximum(1 - block, FLOOR)) if block.shape[1] == 1 else 0.0
            )
        block = np.maximum(block, np.log(FLOOR)) if np.isneginf(block).any() else block
        return np.column_stack([0.0 * block, block]) if block.shape[1] == 1 and len(self.classes_) == 2 else block

    def _predictions(self, table: Array, labels: Array | None = None) -> Predictions:
        c = len(self.classes_)
        arrays: dict[str, Any] = {"classes": np.array([f"{k}: {name}" for k, name in enumerate(self.classes_)])}
        for m, columns in self.modalities_.items():
            arrays[f"logits_{m}"] = self._block(table[:, columns])
            if arrays[f"logits_{m}"].shape[1] != c:
                raise ValueError(f"'{m}' has {len(columns)} columns, but there are {c} classes.")
        arrays["modalities"] = np.array(list(self.modalities_))
        if labels is not None:
            arrays["labels"] = labels
        return Predictions.from_arrays(arrays, {"scores": "logits"}, unlabelled=labels is None)


def _by_modality(X: Any) -> bool:
    """Whether ``X`` is a mapping modality -> scores; one kind of sparse matrix is a dict too."""
    return isinstance(X, Mapping) and not issparse(X)
