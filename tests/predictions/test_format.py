"""The predictions file: what is taken, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmbal.errors import DataError, UsageError
from mmbal.predictions.format import Predictions, subsets_of


def arrays(**changes: Any) -> dict[str, Any]:
    base = {
        "labels": np.array([0, 1, 2, 1]),
        "logits_audio": np.arange(12.0).reshape(4, 3),
        "logits_video": -np.arange(12.0).reshape(4, 3),
    }
    return {k: v for k, v in (base | changes).items() if v is not None}


def test_three_arrays_written_by_hand_are_enough(tmp_path: Path):
    np.savez(tmp_path / "p.npz", **arrays())
    found = Predictions.load(tmp_path / "p.npz")
    assert found.modalities == ("audio", "video")
    assert found.classes == ("0", "1", "2")
    assert found.splits() == {"test": 4}
    assert found.fused is None
    assert not found.missing


def test_what_is_saved_comes_back(tmp_path: Path):
    fused = arrays()["logits_audio"] + arrays()["logits_video"]
    whole = Predictions.from_arrays(
        arrays(
            fused=fused,
            contribution_audio=arrays()["logits_audio"],
            contribution_video=arrays()["logits_video"],
            features_audio=np.ones((4, 2)),
            weight_audio=np.ones((3, 2)),
            bias=np.zeros(3),
            group=np.array(["x", "x", "y", "y"]),
            ids=np.array(["p", "q", "r", "s"]),
            split=np.array(["val", "val", "test", "test"]),
            present_video=np.array([True, True, False, True]),
            subset_audio=np.ones((4, 3)),
            meta='{"seed": 3}',
        )
    )
    whole.save(tmp_path / "p.npz")
    found = Predictions.load(tmp_path / "p.npz")
    assert found.meta == {"seed": 3}
    assert found.present_mask().tolist() == [[True, True], [True, True], [True, False], [True, True]]
    assert list(found.subsets) == [("audio",)]
    assert found.select("calibration").ids.tolist() == ["p", "q"]
    both = Predictions.concatenate([found.select("val"), found.select("test")])
    assert np.array_equal(both.fused, found.fused)


def test_class_names_and_probabilities():
    found = Predictions.from_arrays(
        {"labels": np.array(["cat", "ant"]), "probabilities_x": np.array([[0.25, 0.75], [1.0, 0.0]])}
    )
    assert found.classes == ("ant", "cat")
    assert found.labels.tolist() == [1, 0]
    assert np.allclose(found.logits["x"][0], np.log([0.25, 0.75]))
    assert np.isfinite(found.logits["x"]).all()


NAN = arrays()["logits_video"].copy()
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": None}, "no array 'labels'"),
        ({"logits_audio": None, "logits_video": None}, "no array 'logits_<modality>'"),
        ({"logits_video": NAN}, "'logits_video' holds NaN in 1 samples (first: row 2)"),
        ({"logits_video": np.full((4, 3), -np.inf)}, "'logits_video' holds infinity"),
        ({"logits_video": np.zeros((4, 2))}, "'logits_video' has shape (4, 2), expected (4, 3)"),
        ({"logits_video": np.zeros((3, 3))}, "'logits_video' has shape (3, 3), expected (4, 3)"),
        ({"logits_audio": np.zeros(4)}, "'logits_audio' has shape (4,)"),
        ({"labels": np.array([0, 1, 3, 1])}, "'labels' ranges from 0 to 3, but there are 3 classes"),
        ({"labels": np.array([0.5, 1, 2, 1])}, "fractions"),
        ({"labels": np.array(["a", "b", "z", "b"]), "classes": np.array(["a", "b", "c"])}, "'z'"),
        ({"labels": np.zeros(5, int)}, "'labels' has shape (5,)"),
        ({"ids": np.arange(3)}, "'ids' has shape (3,)"),
        ({"modalities": np.array(["audio", "smell"])}, "no array 'logits_smell'"),
        ({"fused": np.zeros((4, 4))}, "'fused' has shape (4, 4)"),
        ({"weight_audio": np.zeros((2, 5))}, "'weight_audio' has shape (2, 5)"),
        ({"subset_smell": np.zeros((4, 3))}, "'subset_smell' names a modality"),
        ({"meta": "{"}, "'meta' is not valid JSON"),
        (
            {
                "fused": np.ones((4, 3)),
                "contribution_audio": np.ones((4, 3)),
                "contribution_video": np.ones((4, 3)),
            },
            "do not sum",
        ),
        ({"logits_audio": None, "probabilities_audio": -np.ones((4, 3))}, "negative"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], words: str):
    with pytest.raises(DataError) as caught:
        Predictions.from_arrays(arrays(**changes))
    assert words in caught.value.message


def test_a_missing_modality_may_hold_anything():
    found = Predictions.from_arrays(arrays(logits_video=NAN, present_video=np.array([True, True, False, True])))
    assert found.logits["video"][2, 1] == 0
    assert found.missing


def test_pickles_and_damaged_files_are_refused(tmp_path: Path):
    np.savez(tmp_path / "objects.npz", labels=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="pickled objects"):
        Predictions.load(tmp_path / "objects.npz")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match="not a readable"):
        Predictions.load(tmp_path / "cut.npz")
    with pytest.raises(UsageError, match="no file"):
        Predictions.load(tmp_path / "absent.npz")


def test_an_unknown_split_is_named_with_those_there_are():
    with pytest.raises(UsageError) as caught:
        Predictions.from_arrays(arrays()).select("calibration")
    assert "calibration" in caught.value.message
    assert "test" in caught.value.hint


def test_coalitions_by_hand():
    assert subsets_of(("a", "b")) == [(), ("a",), ("b",), ("a", "b")]
