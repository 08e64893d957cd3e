"""Foreign files, written here by hand, and what mmbal makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from mmbal.errors import DataError, UsageError
from mmbal.predictions.readers import predictions_from_csv, predictions_from_features

CSV = """\
id,label,split,audio:cat,audio:dog,video:dog,video:cat
a1,cat,val,0.9,0.1,0.25,0.75
a2,dog,test,0.5,0.5,1,0
a3,dog,test,,,0.75,0.25
"""


def write(folder, text):
    path = folder / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_probabilities_with_a_missing_modality(tmp_path):
    got = predictions_from_csv(write(tmp_path, CSV))
    assert got.classes == ("cat", "dog")
    assert got.modalities == ("audio", "video")
    assert got.labels.tolist() == [0, 1, 1]
    assert got.ids.tolist() == ["a1", "a2", "a3"]
    assert got.splits() == {"val": 1, "test": 2}
    assert got.logits["audio"][0] == pytest.approx(np.log([0.9, 0.1]))
    assert got.logits["video"][0] == pytest.approx(np.log([0.75, 0.25])), "columns follow the class, not the position"
    assert np.isfinite(got.logits["video"]).all()
    assert got.present["audio"].tolist() == [True, True, False]
    assert got.meta["scores"] == "probabilities"


def test_logits_and_fused_scores(tmp_path):
    text = "label,m:x,m:y,fused:x,fused:y,group\nx,2.0,-1,3,-3,g1\ny,0.5,0.25,0,1,g2\n"
    got = predictions_from_csv(write(tmp_path, text))
    assert got.meta["scores"] == "logits"
    assert got.logits["m"].tolist() == [[2.0, -1.0], [0.5, 0.25]]
    assert got.fused.tolist() == [[3.0, -3.0], [0.0, 1.0]]
    assert got.group.tolist() == ["g1", "g2"]
    assert got.ids.tolist() == ["0", "1"]
    assert got.splits() == {"test": 2}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("label,m:x,m:y\n", "no rows"),
        ("m:x,m:y\n1,2\n", "no column 'label'"),
        ("label,x,y\nx,1,2\n", "column 'x'"),
        ("label,split\nx,test\n", "no column <modality>:<class>"),
        ("label,m:x,m:x\nx,1,2\n", "two columns 'm:x'"),
        ("label,m:x,m:y\nx,1\n", "row 2: 2 cells"),
        ("label,m:x,m:y\nx,1,two\n", "row 2, column 'm:y': 'two'"),
        ("label,m:x,m:y\nx,1,\n", "row 2, column 'm:y': the cell is empty"),
        ("label,m:x,m:y\nz,1,2\n", "'z', which is not among the classes"),
        ("label,m:x,m:y,n:x\nx,1,2,3\n", "'n' do not cover the same classes: 'y'"),
        ("label,m:x,m:y\nx,nan,1\n", "NaN"),
    ],
)
def test_a_broken_csv_is_one_sentence(tmp_path, text, says):
    with pytest.raises(DataError, match=r"scores\.csv") as caught:
        predictions_from_csv(write(tmp_path, text))
    assert says in caught.value.message


def test_declared_probabilities_must_not_be_negative(tmp_path):
    with pytest.raises(DataError, match="negative"):
        predictions_from_csv(write(tmp_path, "label,m:x,m:y\nx,-1,2\n"), scores="probabilities")


def test_no_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError):
        predictions_from_csv(tmp_path / "none.csv")


def features(folder, **more):
    path = folder / "features.npz"
    arrays = {
        "audio": np.array([[1.0, 2.0], [0.0, -1.0]]),
        "video": np.array([[3.0], [1.0]]),
        "modalities": np.array(["audio", "video"]),
        "label": np.array([0, 2]),
    }
    np.savez(path, **{**arrays, **more})
    return path


WEIGHT = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [1.0, 1.0, -1.0]])
BIAS = np.array([0.5, 0.0, -0.5])


def test_a_head_on_concatenated_features_is_split_by_modality(tmp_path):
    head = tmp_path / "head.npz"
    np.savez(head, weight=WEIGHT, bias=BIAS, classes=np.array(["x", "y", "z"]))
    got = predictions_from_features(features(tmp_path, clip_id=np.array(["p", "q"])), head)
    # by hand: audio row 0 = (1, 2): (1, 2, 3) + b/2;  video row 0 = 3: (6, 0, -3) + b/2
    assert got.contribution["audio"][0].tolist() == [1.25, 2.0, 2.75]
    assert got.contribution["video"][0].tolist() == [6.25, 0.0, -3.25]
    assert got.fused[0].tolist() == [7.5, 2.0, -0.5]
    assert got.classes == ("x", "y", "z")
    assert got.ids.tolist() == ["p", "q"]
    assert got.weight["video"].tolist() == [[2.0], [0.0], [-1.0]]


def test_a_missing_modality_has_no_part(tmp_path):
    path = features(tmp_path, weight_audio=WEIGHT[:, :2], weight_video=WEIGHT[:, 2:], present_video=np.array([1, 0]))
    got = predictions_from_features(path)
    assert got.fused[1].tolist() == [0.0, -1.0, -1.0]
    assert got.present["video"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "no head"),
        ({"weight": np.ones((3, 5))}, "expected (C, 2 + 1)"),
        ({"weight": WEIGHT, "bias": np.ones(2)}, "'bias' has shape (2,)"),
        ({"weight": WEIGHT, "modalities": np.array(["audio", "vidoe"])}, "'vidoe'"),
        ({"weight_audio": np.ones((3, 2)), "weight_video": np.ones((4, 1))}, "'weight_video' has shape (4, 1)"),
        ({"weight": WEIGHT, "video": np.ones((3, 1))}, "'video' has 3 rows"),
    ],
)
def test_a_broken_feature_file_is_one_sentence(tmp_path, more, says):
    with pytest.raises(DataError) as caught:
        predictions_from_features(features(tmp_path, **more))
    assert says in caught.value.message
