"""Feature files: one reader for `prepare`, `diagnose` and `import`, and what it says of the arrays."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from mmbal.data.preparation.features import read_features
from mmbal.data.preparation.options import Options
from mmbal.errors import DataError, UsageError
from mmbal.predictions.features import is_feature_file, read_feature_file
from mmbal.predictions.heads import load_features
from mmbal.predictions.readers import predictions_from_head

N = 60
LABELS = np.arange(N) % 3


def write(folder, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "label": LABELS,
        "audio": (rng.normal(size=(N, 12)) + LABELS[:, None]).astype(np.float32),
        "video": (rng.normal(size=(N, 10)) + LABELS[:, None]).astype(np.float32),
    }
    path = folder / "f.npz"
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return path


@pytest.mark.parametrize("name", ["label", "labels", "y", "target", "targets", "gt"])
@pytest.mark.parametrize("group", ["group", "actor", "speaker", "subject"])
def test_every_reader_knows_the_same_names(tmp_path, name, group):
    columns = {"label": None, name: LABELS, group: np.arange(N) // 6, "clip_id": np.arange(N)}
    path = write(tmp_path, **columns, weight=np.ones((3, 22)))
    store, fitted, given = read_features(path, Options()), load_features(path), predictions_from_head(path)
    groups = [str(k // 6) for k in range(N)]
    for found in (store, fitted, given):
        assert found.labels.tolist() == LABELS.tolist()
        assert found.group.tolist() == groups
        assert found.ids.tolist() == [str(k) for k in range(N)]
    assert set(store.arrays) == set(fitted.modalities) == set(given.modalities) == {"audio", "video"}


def test_rows_of_zeros_constant_and_equal_columns_are_named(tmp_path):
    rng = np.random.default_rng(1)
    audio, video = rng.normal(size=(N, 12)), rng.normal(size=(N, 10))
    audio[[3, 17]] = 0
    video[:, 4] = 2.5
    video[:, 7] = video[:, 2]
    path = write(tmp_path, audio=audio, video=video, ids=np.array([f"i{k}" for k in range(N)]))
    expected = [
        "'audio' is zero throughout in 2 of 60 rows (i3, i17); if it is missing there, say so in an array 'present_audio'",
        "'video' has 1 constant column (4)",
        "'video' has 1 column identical to another (7 to 2)",
    ]
    assert read_feature_file(path).remarks() == expected
    findings = read_features(path, Options()).findings
    assert [f.reason for f in findings] == expected
    assert [f.level for f in findings] == ["warning", "note", "note"]
    assert set(expected) <= set(load_features(path).warnings)
    missing = np.arange(N) % 60 > 20
    missing[[3, 17]] = False
    there = write(tmp_path, audio=audio, video=video, present_audio=missing)
    assert not any("zero throughout" in text for text in read_feature_file(there).remarks())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audio": np.ones((50, 12))}, "'audio' has 50 rows (shape (50, 12)), but there are 60 labels"),
        ({"audio": np.ones((12, 60))}, "It looks transposed"),
        ({"modalities": np.array(["audio", "vidoe"])}, "has no array 'vidoe'"),
        ({"split": np.array(["a"] * 50)}, "'split' has shape (50,)"),
        ({"label": np.where(LABELS == 2, np.nan, LABELS)}, "'label' holds NaN in 20 samples"),
        ({"audio": np.array(["x"] * N)[:, None], "modalities": np.array(["audio"])}, "'audio' holds text"),
        ({"classes": np.array(["a", "a", "b"])}, "'classes' holds 'a' twice"),
        ({"label": None}, "no array 'label' (it has: audio, video, weight)"),
    ],
)
def test_arrays_that_do_not_fit_are_named_by_every_reader(tmp_path, changes, words):
    path = write(tmp_path, **changes, weight=np.ones((3, 22)))
    for reader in (lambda p: read_features(p, Options()), load_features, predictions_from_head):
        with pytest.raises(DataError) as caught:
            reader(path)
        assert words in caught.value.message
        assert caught.value.message.count(str(path)) == 1


def test_arrays_that_nothing_reads_are_told(tmp_path):
    path = write(tmp_path, valence=np.ones(N), names=np.array(["a", "b"]))
    assert read_feature_file(path).remarks() == ["'valence' (60,) was not used", "'names' (2,) was not used"]
    with pytest.raises(UsageError, match="has no array 'vidio'"):
        read_feature_file(path, modality=["vidio"])
    assert list(read_feature_file(path, modality=["sound=audio"]).arrays) == ["sound"]


def test_bit_patterns_copies_and_vectors(tmp_path):
    audio = np.random.default_rng(2).normal(size=(N, 12)).astype("f4")
    bits = (audio.view("u4") >> 16).astype("u2")
    remarks = read_feature_file(write(tmp_path, audio=bits, video=bits)).remarks()
    assert "'audio' and 'video' are the same array: is one a copy of the other?" in remarks
    assert any("bit patterns of bfloat16" in text for text in remarks)
    vector = read_feature_file(write(tmp_path, audio=audio[:, 0], modalities=np.array(["audio"])))
    assert vector.arrays["audio"].shape == (N, 1)


def test_rows_of_nan_are_missing(tmp_path):
    audio = np.random.default_rng(3).normal(size=(N, 12))
    audio[5] = np.nan
    path = write(tmp_path, audio=audio, weight=np.ones((3, 22)))
    for found in (load_features(path), predictions_from_head(path)):
        assert np.flatnonzero(~found.present["audio"]).tolist() == [5]
    assert "'audio' is NaN throughout in 1 of 60 samples" in "".join(load_features(path).warnings)


def test_a_feature_file_is_known_by_its_names_alone(tmp_path):
    path = write(tmp_path)
    assert is_feature_file(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    with zipfile.ZipFile(tmp_path / "broken.npz", "w") as archive:
        for name in names:
            archive.writestr(name, b"no array at all")
    assert is_feature_file(tmp_path / "broken.npz"), "no array is read"
    for key in ("logits_audio", "logit_audio", "probabilities_audio", "subset_audio", "fused", "scores_audio"):
        assert not is_feature_file(write(tmp_path, **{key: np.ones((N, 3))})), key
    (tmp_path / "text.npz").write_text("label,audio")
    assert not is_feature_file(tmp_path / "text.npz")
