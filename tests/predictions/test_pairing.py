"""Rows are matched by id, and what can't be matched is said."""

import numpy as np
import pytest

from mmbal.errors import DataError
from mmbal.predictions.format import Predictions
from mmbal.predictions.pairing import rows_of, shared_rows


def of(ids, labels, classes=("x", "y")):
    n = len(ids)
    return Predictions.from_arrays(
        {"labels": labels, "ids": list(ids), "classes": list(classes), "logits_a": np.ones((n, 2))}
    )


def test_samples_that_all_have_in_the_order_of_the_first():
    first, second = of("abcd", [0, 1, 0, 1]), of("dxb", [1, 0, 1])
    rows = shared_rows([first, second])
    assert [r.tolist() for r in rows] == [[1, 3], [2, 0]]


def test_classes_may_stand_in_another_order():
    assert shared_rows([of("ab", [0, 1]), of("ab", [1, 0], ("y", "x"))])[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (of("xy", [0, 1]), "No sample of the predictions has the same id"),
        (of("aa", [0, 0]), "The ids repeat"),
        (of("ab", [1, 1]), "The same ids have different labels"),
    ],
)
def test_what_can_not_be_paired_is_said(second, said):
    with pytest.raises(DataError, match=said):
        shared_rows([of("ab", [0, 1]), second])


def test_rows_of_given_ids():
    p = of("abc", [0, 1, 0])
    assert rows_of(p, ["c", "a"]).tolist() == [2, 0]
    with pytest.raises(DataError, match="no row for 2 of 3 samples, such as 'z'"):
        rows_of(p, ["a", "z", "q"])
