"""What numbers and labels are taken for: each form is read right, or said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmbal.errors import DataError
from mmbal.predictions.columns import bit_pattern
from mmbal.predictions.doubts import doubt
from mmbal.predictions.format import Predictions
from mmbal.predictions.labels import alike, labels_of

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 60)
SCORES = RNG.normal(size=(60, 3)) + 3 * np.eye(3)[LABELS]
SHARES = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)


def read(**arrays: Any) -> Predictions:
    return Predictions.from_arrays({"labels": LABELS, "logits_b": SCORES, **arrays}, examine=True)


@pytest.mark.parametrize(
    ("labels", "classes", "index"),
    [
        (["Happy", "SAD "], ["happy", "sad"], [0, 1]),
        (["big_cat", "dog"], ["big cat", "dog"], [0, 1]),
        (["cafe\u0301", "tea"], ["tea", "caf\u00e9"], [1, 0]),
        (["b'no'", "b'yes'"], ["no", "yes"], [0, 1]),
        (["1", "2"], ["2.0", "1.0"], [1, 0]),
        (["False", "True"], ["no", "yes"], [0, 1]),
        ([False, True], ["True", "False"], [1, 0]),
        ([1, 2, 3], ["1.0", "2.0", "3.0"], [0, 1, 2]),
    ],
)
def test_labels_under_another_spelling_of_their_class(labels, classes, index):
    assert labels_of(np.array(labels), classes, len(classes)).index.tolist() == index


def test_a_spelling_of_two_classes_is_refused():
    with pytest.raises(DataError, match="'CAT', which is not among the classes"):
        labels_of(np.array(["CAT", "dog"]), ["cat", "Cat", "dog"], 3)
    assert alike(["12345678", "12345679"]) == []
    assert alike(["cat", "Cat", "1", "1.0", "a", "A"]) == [("cat", "Cat"), ("1", "1.0")]


def test_one_column_of_percent_and_of_probabilities():
    two = (LABELS > 0).astype(int)
    chance = 1 / (1 + np.exp(-(4 * two - 2 + RNG.normal(size=60))))
    by_percent = Predictions.from_arrays({"labels": two, "probabilities_a": 100 * chance})
    by_share = Predictions.from_arrays({"labels": two, "logits_a": chance})
    for found in (by_percent, by_share):
        np.testing.assert_allclose(found.logits["a"], np.log(np.stack([1 - chance, chance], axis=1)), atol=1e-9)
        assert "probability" in found.warnings[0]


def test_probabilities_rounded_in_single_precision():
    found = read(logits_a=np.round(SHARES, 2).astype(np.float32))
    assert "'logits_a' holds probabilities, not logits: their logarithms were taken" in found.warnings


def test_percent_as_text_and_decimal_commas():
    percent = np.array([[f"{100 * x:.2f}%" for x in row] for row in SHARES])
    commas = np.array([[f"{x:.3f}".replace(".", ",") for x in row] for row in SCORES])
    found = read(logits_a=percent, logits_c=commas)
    assert any("percent" in text for text in found.warnings)
    np.testing.assert_allclose(found.logits["c"], np.round(SCORES, 3))


def test_one_vs_rest_in_percent_is_told():
    assert any("as percent do" in text for text in read(logits_a=100 / (1 + np.exp(-SCORES))).warnings)


def test_bit_patterns_of_double_precision():
    assert bit_pattern(SCORES.view(np.int64)) == "float64"
    assert bit_pattern((SCORES * 1000).astype(np.int64)) == ""


def test_classes_without_a_sample_and_alike_classes_are_told():
    wide = np.pad(SCORES, ((0, 0), (0, 1)))
    found = Predictions.from_arrays(
        {"labels": LABELS, "classes": ["cat", "Cat", "dog", "owl"], "logits_a": wide}, examine=True
    )
    assert "1 class has no sample: 'owl'" in found.warnings
    assert "the classes 'cat' and 'Cat' differ only in their spelling" in found.warnings


def test_labels_of_three_classes_shifted_by_a_row():
    sure = SCORES + 20 * np.eye(3)[LABELS]
    assert "shifted by one row" in doubt(Predictions.from_arrays({"labels": np.roll(LABELS, 1), "logits_a": sure}))


@pytest.mark.parametrize("order", [[1, 2, 0], [1, 0, 2]])
def test_a_modality_whose_columns_have_another_order_is_told(order):
    sure = SCORES + 3 * np.eye(3)[LABELS]
    found = read(logits_a=sure, logits_b=sure[:, order])
    assert [text[:45] for text in found.warnings] == ["'b' looks to have its columns in another order"[:45]]
    assert read(logits_a=sure, logits_b=SCORES).warnings == ()
