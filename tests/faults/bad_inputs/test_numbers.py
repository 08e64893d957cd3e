"""Labels and scores in odd forms: what each array was taken for is right or said, or it is refused in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmbal.errors import DataError
from mmbal.predictions.format import Predictions

pytestmark = pytest.mark.counted("bad inputs")

N = 120
RNG = np.random.default_rng(3)
Y = RNG.integers(0, 3, N)
A = RNG.normal(size=(N, 3)) + 3 * np.eye(3)[Y]
B = RNG.normal(size=(N, 3)) + 2 * np.eye(3)[Y]
TWO = (Y > 0).astype(int)
A2, B2 = (RNG.normal(size=(N, 2)) + 2 * np.eye(2)[TWO] for _ in range(2))
SHARES = np.exp(A) / np.exp(A).sum(axis=1, keepdims=True)
ROW = np.arange(N)[:, None]
NAMES = np.array(["no", "maybe", "yes"])


def read(**arrays: Any) -> Predictions:
    return Predictions.from_arrays({"labels": Y, "logits_a": A, "logits_b": B, **arrays}, examine=True)


LABELS = {
    "emoji": {"labels": np.array(["😀", "😡", "👍🏽"])[Y], "classes": ["😀", "😡", "👍🏽"]},
    "right to left": {"labels": np.array(["שלום", "مرحبا", "x"])[Y], "classes": ["שלום", "مرحبا", "x"]},
    "Turkish letters": {"labels": np.array(["I", "ı", "i"])[Y], "classes": ["I", "ı", "i"]},
    "letters that differ in case": {"labels": np.array(["a", "A", "b"])[Y], "classes": ["a", "A", "b"]},
    "bytes": {"labels": NAMES[Y].astype("S"), "classes": NAMES.astype("S")},
    "objects of bytes": {"labels": NAMES[Y].astype("S").astype(object), "classes": NAMES},
    "a column": {"labels": NAMES[Y][:, None], "classes": NAMES},
    "digits of other scripts": {"labels": np.array(["٠", "١", "٢"])[Y]},
    "high byte first": {"labels": Y.astype(">i4"), "logits_a": A.astype(">f4")},
    "one-hot booleans": {"labels": np.eye(3)[Y].astype(bool)},
    "long doubles": {"logits_a": A.astype(np.longdouble)},
    "numbers as text": {"logits_a": A.astype(str)},
    "numbers as text with a typesetter's minus": {"logits_a": np.char.replace(A.astype(str), "-", "−")},
    "names with markup": {"labels": np.array(["[/]", "$x$", "&amp;"])[Y], "classes": ["[/]", "$x$", "&amp;"]},
    "names of devices and folders": {"labels": np.array(["CON", "..", ".x"])[Y], "classes": ["CON", "..", ".x"]},
}


@pytest.mark.parametrize("form", LABELS)
def test_another_form_of_the_same_changes_nothing(form):
    found = read(**LABELS[form])
    assert found.labels.tolist() == Y.tolist()
    assert found.warnings == ()
    for m, scores in (("a", A), ("b", B)):
        np.testing.assert_allclose(found.logits[m], scores, rtol=1e-6, atol=1e-6)


VOTES = np.array([np.bincount(row, minlength=3) for row in RNG.integers(0, 3, (N, 10))])
WIDE = {f"logits_{m}": np.pad(scores, ((0, 0), (0, 1))) for m, scores in (("a", A), ("b", B))}
SAID = {
    "plus and minus one": ({"labels": 2 * TWO - 1, "logits_a": A2, "logits_b": B2}, "-1 and 1: they were read"),
    "plus and minus one as text": ({"labels": (2 * TWO - 1).astype(str), "logits_a": A2, "logits_b": B2}, "-1 and 1"),
    "booleans as text": ({"labels": (TWO > 0).astype(str), "logits_a": A2, "logits_b": B2}, "False, True"),
    "logarithms to base 10": ({"logits_a": np.log10(SHARES)}, "to the base 10"),
    "logarithms to base 2": ({"logits_a": np.log2(SHARES)}, "to the base 2"),
    "per mille": ({"logits_a": 1000 * SHARES}, "sums to 1000"),
    "votes of ten raters": ({"logits_a": VOTES}, "sums to 10"),
    "bytes for shares": ({"logits_a": np.round(255 * SHARES).astype(np.uint8)}, "whole numbers .uint8."),
    "losses": ({"logits_a": -np.log(SHARES)}, "worse than chance"),
    "a copy times two": ({"logits_b": 2 * A}, "those of 'a' times 2"),
    "a copy and a number": ({"logits_b": A + RNG.normal(size=(N, 1))}, "plus a number a row"),
    "the sign turned": ({"logits_b": -B}, "worse than chance"),
    "always the same": ({"logits_b": np.tile([0.0, 1.0, 2.0], (N, 1))}, "no information"),
    "zeros in every other row": ({"logits_b": np.where(ROW % 2, 0, B)}, "zero throughout in 60 of 120"),
    "masked with -1e9": ({"logits_a": np.where(np.arange(3) == (Y[:, None] + 1) % 3, -1e9, A)}, "logarithm of 0 in 120"),
    "a row without any modality": ({f"present_{m}": np.arange(N) > 0 for m in "ab"}, "1 sample has no modality"),
    "a modality that is nowhere": ({"present_a": np.zeros(N, bool)}, "missing from every sample"),
    "modalities under two spellings": ({"logits_Audio x": A, "logits_audio_x": B + 1}, "differ only in their spelling"),
    "a class for nothing": (WIDE, "has no sample"),
    "speakers that are not all known": ({"group": np.where(Y, np.nan, 3.0)}, "a group of its own"),
}  # fmt: skip


@pytest.mark.parametrize("form", SAID)
def test_what_may_be_wrong_is_said(form):
    changes, told = SAID[form]
    assert any(told.replace(".uint8.", "(uint8)") in text for text in read(**changes).warnings), read(
        **changes
    ).warnings


REFUSED = {
    "labels of infinity": ({"labels": np.where(np.arange(N) == 5, np.inf, Y)}, "holds inf"),
    "labels beyond all bounds": ({"labels": Y.astype(np.uint64) + np.uint64(2**63)}, r"holds 9\.22"),
    "labels of 1e20": ({"labels": Y * 1e20}, r"holds 2e\+20"),
    "255 for no label": ({"labels": np.where(np.arange(N) < 3, 255, Y)}, "from 0 to 255"),
    "-100 for no label": ({"labels": np.where(np.arange(N) < 3, -100, Y)}, "from -100 to 2"),
    "text digits from 1": ({"labels": (Y + 1).astype(str)}, "from 1 to 3"),
    "booleans for three classes": ({"labels": Y > 0}, "True and False, but there are 3 classes"),
    "soft labels": ({"labels": SHARES}, "one class per sample"),
    "classes instead of scores": ({"logits_a": A.argmax(axis=1)}, "one column a class"),
    "scores of 1e30": ({"logits_a": A * 1e30}, "no score is so large"),
    "complex numbers": ({"logits_a": A + 0j}, "type complex128"),
    "dates": ({"labels": Y.astype("datetime64[D]")}, "type datetime64"),
    "one NaN": ({"logits_a": np.where((ROW == 3) & (np.arange(3) == 1), np.nan, A)}, "first: row 3"),
    "infinity": ({"logits_a": np.where(ROW == 3, np.inf, A)}, "infinity in 1 samples"),
    "thousands in text": ({"logits_a": np.where(ROW, A.round(3).astype(str), "1,234")}, "may part thousands"),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSED)
def test_what_can_not_be_is_refused(form):
    changes, told = REFUSED[form]
    with pytest.raises(DataError, match=told):
        read(**changes)


def test_labels_in_reversed_order_are_suspected():
    found = read(labels=Y[::-1], logits_a=A + 3 * np.eye(3)[Y])
    assert "in reversed order" in found.doubt()


@pytest.mark.parametrize("name", ["../x", "[red]", "😀", "a b", "CON", "$a&b%", "שלום"])
def test_names_of_modalities_change_no_figure(name):
    given = {"labels": Y, "logits_b": B, f"logits_{name}": A}
    found = Predictions.from_arrays(given, examine=True)
    assert found.modalities == ("b", name)
    assert np.array_equal(found.logits[name], A)
    assert found.warnings == ()
