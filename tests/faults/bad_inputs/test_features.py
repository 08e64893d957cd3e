"""Feature files in odd forms: both readers say the same of them, or refuse them in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbal.data.preparation.features import read_features
from mmbal.data.preparation.options import Options
from mmbal.data.prepare import prepare
from mmbal.errors import DataError
from mmbal.predictions.heads import load_features

pytestmark = pytest.mark.counted("bad inputs")

N = 60
Y = np.arange(N) % 3
RNG = np.random.default_rng(0)
A, B = ((RNG.normal(size=(N, d)) + Y[:, None]).astype(np.float32) for d in (6, 4))


def write(folder: Path, **changes: Any) -> Path:
    np.savez(folder / "f.npz", **{"label": Y, "audio": A, "video": B, **changes})
    return folder / "f.npz"


CLASSES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "from 1": (Y + 1, ("1", "2", "3")),
    "booleans as text": ((Y > 0).astype(str), ("False", "True")),
    "bytes": (np.array([b"x", b"y", b"z"])[Y], ("x", "y", "z")),
    "plus and minus one": (2 * (Y > 0) - 1, ("-1", "1")),
    "real numbers": (Y.astype(float), ("0", "1", "2")),
    "one-hot": (np.eye(3)[Y], ("0", "1", "2")),
    "spaces behind": (np.array(["cat", "cat ", "dog"])[Y], ("cat", "dog")),
    "emoji": (np.array(["😀", "😡", "🙂"])[Y], ("😀", "😡", "🙂")),
}


@pytest.mark.parametrize("form", CLASSES)
def test_labels(tmp_path, form):
    labels, classes = CLASSES[form]
    path = write(tmp_path, label=labels)
    for found in (read_features(path, Options()), load_features(path)):
        assert found.classes == classes
        expected = [k for k, _ in enumerate(classes)] if len(classes) == 3 else [0, int(form != "spaces behind"), 1]
        assert found.labels.tolist() == [expected[y] for y in Y]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["a", "nan", "b"], "the class 'nan' may stand for labels that are missing"),
        (["cat", "Cat", "dog"], "the classes 'Cat' and 'cat' differ only in their spelling"),
    ],
)
def test_classes_that_may_be_none(tmp_path, labels, told):
    assert told in load_features(write(tmp_path, label=np.array(labels)[Y])).warnings


REFUSED = {
    "infinite labels": ({"label": np.where(Y == 1, np.inf, Y)}, "holds inf"),
    "fractions": ({"label": Y * 1.5}, "fractions"),
    "features without columns": ({"audio": A[:, :0]}, "has no features"),
    "complex numbers": ({"audio": A + 0j}, "complex"),
    "time first": ({"audio": np.repeat(A[None], 5, axis=0)}, "5 rows"),
    "turned": ({"audio": A.T}, "looks transposed"),
    "a mask that is too short": ({"present_audio": np.ones(5, bool)}, "present_audio"),
    "too few names": ({"classes": ["a", "b"]}, "there are 2 classes"),
    "a name twice": ({"classes": ["a", "a", "b"]}, "'a' twice"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_can_not_be_is_refused_by_both_readers(tmp_path, form):
    changes, told = REFUSED[form]
    path = write(tmp_path, **changes)
    for read in (lambda: read_features(path, Options()), lambda: load_features(path)):
        with pytest.raises(DataError, match=told):
            read()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e300, np.inf])
def test_features_beyond_all_bounds_are_a_finding_or_a_sentence(tmp_path, scale):
    audio = A.astype(float)
    audio[3] *= scale
    path = write(tmp_path, audio=audio)
    found = prepare(path, out=tmp_path / "store", workers=0)
    assert [(f.kind, f.where) for f in found.findings if f.level == "error"] == [("corrupt", "3")]
    with pytest.raises(DataError, match=r"no feature is so large|holds infinity|holds NaN"):
        load_features(path)
