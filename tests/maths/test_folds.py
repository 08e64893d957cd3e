"""Folds are even by class, keep groups together, and exist for as few as two rows."""

import numpy as np
import pytest

from mmbal.errors import DataError
from mmbal.maths.folds import folds_of, groups_of


def test_folds_are_even_by_class_and_keep_groups_together():
    labels = np.repeat([0, 1, 2], [10, 5, 1])
    fold = folds_of(labels, 5)
    assert sorted(np.bincount(fold)) == [3, 3, 3, 3, 4]
    assert (np.bincount(fold[labels == 0]) == 2).all()
    assert (np.bincount(fold[labels == 1]) == 1).all()
    group = np.arange(16) // 2
    fold = folds_of(labels, 3, group=group)
    assert all(len(set(fold[group == g])) == 1 for g in range(8))
    assert np.bincount(fold).max() <= 6


def test_one_row_a_class_is_enough():
    assert sorted(folds_of(np.arange(6), 5)) == [0, 0, 1, 2, 3, 4]
    assert sorted(folds_of(np.array([0, 1]), 5)) == [0, 1]
    with pytest.raises(DataError, match="at least two samples"):
        folds_of(np.array([0]), 5)


def test_a_single_group_is_as_none():
    labels = np.arange(40) % 2
    assert folds_of(labels, 5, group=np.zeros(40)).tolist() == folds_of(labels, 5).tolist()
    assert groups_of(np.zeros(4)) is None
    assert groups_of(None) is None
    assert groups_of(np.array(["a", "b"])).tolist() == ["a", "b"]
