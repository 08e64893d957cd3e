"""Arrays as people have them: what they are taken for, what is told of them, what is refused and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmbal.errors import DataError, UsageError
from mmbal.predictions.format import Predictions

RNG = np.random.default_rng(0)
N, C = 120, 4
LABELS = RNG.integers(0, C, N)


def scores(strength: float, labels: np.ndarray = LABELS, c: int = C) -> np.ndarray:
    z = RNG.normal(size=(len(labels), c))
    z[np.arange(len(labels)), labels] += strength
    return z


AUDIO, VIDEO = scores(3.0), scores(2.0)
NAMES = np.array(["w", "x", "y", "z"])


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def read(**changes: Any) -> Predictions:
    base = {"labels": LABELS, "logits_audio": AUDIO, "logits_video": VIDEO}
    return Predictions.from_arrays({k: v for k, v in (base | changes).items() if v is not None}, examine=True)


def told(found: Predictions) -> str:
    return "; ".join(found.warnings)


def test_what_is_right_is_told_of_in_no_word():
    found = read(fused=AUDIO + VIDEO, split=np.where(np.arange(N) % 2, "val", "test"), ids=np.arange(N))
    assert found.warnings == ()
    assert found.doubt() == ""


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"Fused": AUDIO}, "'Fused' is no array that mmbal knows", "Did you mean fused?"),
        ({"logits_fused": AUDIO}, "'logits_fused' is no array of a modality", "called 'fused'"),
        ({"probabilities_Fusion": softmax(AUDIO)}, "'probabilities_Fusion' is no array of a modality", "'fused'"),
        ({"labels": None, "lables": LABELS}, "no array 'labels'", "Is 'lables' it?"),
        ({"label": LABELS}, "'label' and 'labels' both hold the labels", ""),
        ({"contributions_audio": AUDIO}, "'contributions_audio'", "contribution_audio"),
        ({"features_vidoe": AUDIO}, "'features_vidoe' is of the modality 'vidoe'", "video"),
        ({"modalities": ["audio"]}, "'logits_video' is of a modality that 'modalities' does not name", ""),
        ({"logits_a+b": AUDIO}, "'a+b' holds '+'", ""),
        ({"logits_audio": AUDIO.T}, "'logits_audio' has shape (4, 120): it looks transposed", "logits_audio.T"),
        ({"labels": LABELS + 1}, "'labels' ranges from 1 to 4, but there are 4 classes", "count from 1"),
        ({"labels": np.where(np.arange(N) == 3, -1, LABELS)}, "ranges from -1 to 3", "without a label"),
        ({"labels": softmax(AUDIO)}, "'labels' has shape (120, 4); one class per sample", ""),
        ({"labels": np.ones((N, C))}, "'labels' marks several classes", ""),
        ({"labels": np.where(np.arange(N) == 3, np.nan, LABELS)}, "'labels' holds NaN in 1 samples (first: row 3)", ""),
        ({"classes": ["a", "b", "b", "c"]}, "'classes' holds 'b' twice", ""),
        ({"labels": np.char.add(NAMES[LABELS], "?!x"), "classes": NAMES}, "which is not among the classes", ""),
        ({"present_audio": np.full(N, 0.5)}, "'present_audio' holds '0.5'", ""),
        ({"logits_audio": np.where(AUDIO > 3, np.inf, AUDIO).astype("f2")}, "infinity", "Half precision"),
        ({"logits_audio": AUDIO + 1j}, "'logits_audio' has type complex128", ""),
        ({"logits_audio": [[1, 2], [3]]}, "'logits_audio' has rows of different lengths", ""),
        ({"logits_audio": np.char.add(AUDIO.astype(str), " x")}, "'logits_audio' holds text", ""),
        ({"probabilities_audio": 3 * softmax(AUDIO), "logits_audio": None}, "so these are not probabilities", ""),
        ({"split": np.where(np.arange(N) % 2, "", "test")}, "'split' is empty in 60 samples (first: row 1)", ""),
        ({"logits_audio": None, "subset_audio": AUDIO, "logits_video": None, "subset_audio+video": AUDIO}, "video", ""),
        ({"labels": np.array(["w", 1] * 60, dtype=object)}, "'labels' holds Python objects", ""),
    ],
)
def test_what_is_refused_is_named_with_what_to_do(changes, message, hint):
    with pytest.raises(DataError) as caught:
        read(**changes)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("view", ["bfloat16", "float16", "float32"])
def test_bit_patterns_are_not_taken_for_logits(view):
    bits = {
        "bfloat16": (AUDIO.astype("f4").view("u4") >> 16).astype("u2").view("i2"),
        "float16": AUDIO.astype("f2").view("u2"),
        "float32": AUDIO.astype("f4").view("i4"),
    }[view]
    with pytest.raises(DataError, match=f"'logits_audio' holds {bits.dtype} .* bit patterns of {view}"):
        read(logits_audio=bits)
    assert "whole numbers" in told(read(logits_audio=np.round(20 * AUDIO).astype("i2")))


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:, None], np.eye(C)[LABELS], LABELS.astype(str), LABELS.astype(float), LABELS.astype("S"),
        np.array([f"{i}.0" for i in LABELS]), np.array([int(i) for i in LABELS], dtype=object), LABELS.tolist(),
    ],
    ids=["(N, 1)", "one-hot", "digits", "floats", "bytes", "float texts", "objects", "list"],
)  # fmt: skip
def test_labels_in_any_form_are_the_same_classes(labels):
    assert read(labels=labels).labels.tolist() == LABELS.tolist()


def test_text_digits_are_numbers_also_beyond_nine():
    labels = np.arange(24) % 12
    found = Predictions.from_arrays({"labels": labels.astype(str), "logits_m": np.eye(12)[labels] * 5})
    assert found.labels.tolist() == labels.tolist(), "in alphabetical order '10' would come before '2'"


def test_class_names_without_an_order_are_told_and_names_that_are_numbers_are_found():
    found = read(labels=NAMES[LABELS])
    assert found.labels.tolist() == LABELS.tolist()
    assert "alphabetical order of the names (w, x, y, z)" in told(found)
    assert read(labels=LABELS + 1, classes=[1, 2, 3, 4]).labels.tolist() == LABELS.tolist()
    assert "they were read as positions" in told(read(labels=np.minimum(LABELS + 1, 3), classes=[1, 2, 3, 4]))


def test_probabilities_under_the_name_of_logits_are_told_and_taken_for_what_they_are():
    for scale, word in ((1, "probabilities"), (100, "percent")):
        found = read(logits_audio=scale * softmax(AUDIO), fused=scale * softmax(AUDIO + VIDEO))
        assert f"'logits_audio' holds {'probabilities' if scale == 1 else 'probabilities in percent'}" in told(found)
        assert word in told(found)
        assert np.allclose(found.logits["audio"], np.log(softmax(AUDIO)))
        assert np.allclose(found.fused, np.log(softmax(AUDIO + VIDEO)))
    assert "'logits_audio' lies between 0 and 1" in told(read(logits_audio=1 / (1 + np.exp(-AUDIO))))
    assert "holds 0 and 1 only" in told(read(logits_audio=np.eye(C)[AUDIO.argmax(axis=1)]))
    half = np.where(np.arange(N)[:, None] % 2, softmax(AUDIO), 100 * softmax(AUDIO))
    assert "but the others do not" in told(read(logits_audio=half))


def test_percent_and_sigmoids_under_the_name_of_probabilities():
    found = read(logits_audio=None, probabilities_audio=100 * softmax(AUDIO))
    assert np.allclose(found.logits["audio"], np.log(softmax(AUDIO)))
    found = read(logits_audio=None, probabilities_audio=1 / (1 + np.exp(-AUDIO)))
    assert "one-vs-rest" in told(found)
    assert np.allclose(found.logits["audio"], AUDIO), "the log-odds of a sigmoid are its logit"


def test_one_score_a_sample_decides_between_two_classes():
    labels = LABELS % 2
    z = AUDIO[:, 0]
    found = read(labels=labels, logits_audio=z, logits_video=z[:, None])
    assert found.logits["audio"].tolist() == [[0.0, x] for x in z]
    assert found.logits["video"].tolist() == found.logits["audio"].tolist()
    assert "second class" in told(found)
    p = 1 / (1 + np.exp(-z))
    found = Predictions.from_arrays({"labels": labels, "probabilities_m": p})
    assert np.allclose(found.logits["m"][:, 1] - found.logits["m"][:, 0], z)


def test_the_logarithm_of_zero_gets_a_floor_and_rows_of_nan_are_missing():
    z = np.log(softmax(AUDIO))
    z[3] = [np.log(0.5), -np.inf, np.log(0.25), np.log(0.25)]
    found = read(logits_audio=z)
    assert "logarithm of 0 in 1 samples" in told(found)
    assert found.logits["audio"][3, 1] == pytest.approx(np.log(1e-12))
    z = AUDIO.copy()
    z[5] = np.nan
    for given in (z, np.ma.masked_invalid(z)):
        found = read(logits_audio=given)
        assert not found.present["audio"][5]
        assert found.present["audio"].sum() == N - 1
        assert "'audio' is NaN throughout in 1 of 120 samples" in told(found)
    z[5, 0] = 1.0
    with pytest.raises(DataError, match="'logits_audio' holds NaN in 1 samples"):
        read(logits_audio=z)


@pytest.mark.parametrize("words", [("True", "False"), ("yes", "no"), ("1", "0"), (b"true", b"false")])
def test_masks_as_text(words):
    mask = np.arange(N) % 3 > 0
    found = read(present_audio=np.where(mask, *words))
    assert found.present["audio"].tolist() == mask.tolist()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("Validation ", "TEST"), ("val", "test")), (("valid", "testing"), ("val", "test")),
        (("dev", "test"), ("val", "test")), (("eval", "test"), ("val", "test")), (("dev", "eval"), ("val", "test")),
        (("calib", "test"), ("calibration", "test")), (("Training", "holdout"), ("train", "holdout")),
        ((b"cal", b"val"), ("calibration", "val")),
    ],
)  # fmt: skip
def test_splits_by_their_usual_names(given, expected):
    found = read(split=np.where(np.arange(N) % 2, *given))
    assert found.splits() == {expected[1]: 60, expected[0]: 60}


def test_a_split_is_selected_by_any_of_its_names():
    found = read(split=np.where(np.arange(N) % 2, "validation", "test"))
    for name in ("val", "dev", "Validation", "calibration", "cal"):
        assert len(found.select(name)) == 60
    with pytest.raises(UsageError, match="no split 'train'"):
        found.select("train")


def test_coalitions_stand_for_decisions_that_are_not_given():
    empty = np.tile([0.5, 0.0, 0.0, -0.5], (N, 1))
    given = {
        "subset_": empty,
        "subset_audio": AUDIO + empty,
        "subset_video": VIDEO,
        "subset_audio+video": AUDIO + VIDEO,
    }
    found = Predictions.from_arrays({"labels": LABELS, **given})
    assert found.modalities == ("audio", "video")
    assert np.allclose(found.logits["audio"], AUDIO)
    assert np.allclose(found.logits["video"], VIDEO - empty)
    assert "'subset_audio' less 'subset_'" in told(found)
    for key in ("subset_", "subset_audio+video"):
        without = Predictions.from_arrays({"labels": LABELS, **{k: v for k, v in given.items() if k != key}})
        assert without.modalities == ("audio", "video")


def test_groups_and_ids_as_numbers_bytes_and_with_gaps():
    found = read(
        group=np.where(np.arange(N) % 60, np.arange(N) // 4 * 1.0, np.nan), ids=np.char.encode(np.arange(N).astype(str))
    )
    assert found.ids[:2].tolist() == ["0", "1"]
    assert found.group[1:3].tolist() == ["0", "0"]
    assert found.group[[0, 60]].tolist() == ["row 0", "row 60"]
    assert "'group' is empty in 2 samples" in told(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logits_audio": -AUDIO}, "'audio' is worse than chance"),
        ({"logits_audio": np.ones((N, C))}, "'audio' has the same scores for every sample"),
        ({"logits_video": AUDIO}, "'audio' and 'video' have the same scores"),
        ({"labels": np.zeros(N, int)}, "every sample is of class '0'"),
        ({"ids": ["x"] * N}, "1 id occurs more than once in the split 'test' (first: 'x')"),
        ({"ids": np.arange(N) // 2, "split": np.where(np.arange(N) % 2, "val", "test")}, "shares 60 samples with 'test'"),
        ({"logits_audio": np.where(np.arange(N)[:, None] % 10, AUDIO, 0)}, "zero throughout in 12 of 120 samples"),
        ({"fused": AUDIO + VIDEO, "contribution_audio": AUDIO}, "no 'contribution_video'"),
        ({"subset_audio+video": AUDIO, "fused": VIDEO}, "'subset_audio+video' is not 'fused'"),
        ({"logits_audio": np.round(AUDIO / 2)}, "same highest score"),
    ],
)  # fmt: skip
def test_what_looks_wrong_is_told(changes, words):
    assert words in told(read(**changes))


SIX = RNG.integers(0, 5, N)  # of six classes, so that a shift by one is still a class
SIX_SCORES = scores(3.0, SIX, 6)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (SIX + 1, "shifted by one class: .* with labels - 1"),
        (np.roll(SIX, 1), "shifted by one row"),
        (np.array([3, 0, 4, 1, 5, 2])[SIX], "in another order than the classes"),
    ],
)
def test_labels_that_do_not_belong_to_the_decisions_are_refused_before_a_figure_is_shown(labels, words):
    from mmbal.decision import calibrate
    from mmbal.diagnosis import diagnose

    arrays = {"labels": labels, "logits_m": SIX_SCORES, "split": np.where(np.arange(N) % 4 < 2, "val", "test")}
    right = float((SIX_SCORES.argmax(axis=1) == SIX).mean())
    for use in (diagnose, calibrate):
        with pytest.raises(DataError, match=words) as caught:
            use(arrays)
        assert f"{100 * right:.1f} %" in caught.value.message
    assert Predictions.from_arrays(arrays, {"labels": "checked"}).doubt() == ""


def test_a_model_that_is_only_bad_raises_no_doubt():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 6, 300)
        guess = rng.normal(size=(300, 6))
        biased = guess + np.array([0, 0, 5, 0, 0, 0])  # nearly always the third class
        sorted_labels = np.sort(labels)
        for given, z in ((labels, guess), (labels, biased), (sorted_labels, guess), (np.minimum(labels, 4), biased)):
            assert Predictions.from_arrays({"labels": given, "logits_m": z}).doubt() == ""


def test_predictions_of_several_splits_are_joined(tmp_path):
    val, test = read(split=["dev"] * N, ids=[f"v{i}" for i in range(N)]), read(ids=[f"t{i}" for i in range(N)])
    test.save(tmp_path / "test.npz")
    whole = Predictions.concatenate([val, tmp_path / "test.npz"])
    assert whole.splits() == {"val": N, "test": N}
    assert np.allclose(whole.logits["audio"], np.concatenate([AUDIO, AUDIO]), atol=1e-5)
    assert Predictions.concatenate(val, test).ids.tolist() == whole.ids.tolist()
    partly = Predictions.concatenate(val, read(fused=AUDIO + VIDEO))
    assert partly.fused is None
    assert "'fused' is left out" in told(partly)
    assert Predictions.concatenate(read(), read()).ids.tolist() == np.arange(2 * N).astype(str).tolist()


def test_predictions_that_do_not_fit_are_not_joined():
    with pytest.raises(DataError, match="other classes than the first: 'v', not 'w'"):
        Predictions.concatenate(read(classes=list("wxyz")), read(classes=list("vxyz")))
    with pytest.raises(DataError, match="modalities audio; the first have audio, video"):
        Predictions.concatenate(read(), read(logits_video=None))
    with pytest.raises(UsageError, match="no predictions to join"):
        Predictions.concatenate([])


def test_paths_and_mappings_are_predictions(tmp_path):
    from mmbal.decision import compare_rules, cross_fit, fit_rule
    from mmbal.diagnosis import diagnose

    arrays = {"labels": LABELS, "logits_audio": AUDIO, "logits_video": VIDEO}
    np.savez(tmp_path / "p.npz", **arrays)
    np.savez(tmp_path / "f.npz", label=LABELS, audio=AUDIO, video=VIDEO)
    for given in (arrays, tmp_path / "p.npz", str(tmp_path / "p.npz")):
        assert diagnose(given, rule="sum", bootstrap=100).data.samples == N
        assert fit_rule(given, "sum").modalities == ("audio", "video")
        assert cross_fit(given, "sum").shape == (N, C)
        assert [row["rule"] for row in compare_rules(given, ["sum"], replicates=100)] == ["fused", "sum"]
    assert "fitted here" in diagnose(tmp_path / "f.npz", rule="sum", bootstrap=100).data.meta["heads"]
    with pytest.raises(UsageError, match="can't be read from int"):
        diagnose(3)


@pytest.mark.parametrize(
    ("name", "content", "words", "hint"),
    [
        ("d.json", b'{"verdict": [], "settings": {}}', "is a diagnosis", "mmbal report"),
        ("r.json", b'{"format": "mmbal.rule"}', "is a stored decision rule", "fitted on"),
        ("x.json", b"[1, 2]", "is a JSON document", ""),
        ("s.csv", b"label,audio:a,audio:b\na,1,2\n", "is a table of text", "mmbal import"),
        ("p.npz", b"\x80\x04\x95\x0b", "is a pickle", "np.savez"),
        ("p.pkl", b"\x80\x02}q\x00.", "is a pickle", "np.savez"),
        ("h.h5", b"\x89HDF\r\n\x1a\n", "is an HDF5 file", "np.savez"),
        ("e.npz", b"", "is an empty file", ""),
        ("b.npz", b"\x00\x01\x02\x03", "unknown kind", ""),
    ],
)
def test_another_file_is_named_as_what_it_is(tmp_path, name, content, words, hint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        Predictions.load(tmp_path / name)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_arrays_and_weights_given_by_mistake_are_named(tmp_path):
    import torch

    np.save(tmp_path / "a.npy", AUDIO)
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pth")
    np.savez(tmp_path / "o.npz", labels=LABELS, ids=np.array([{}] * N, dtype=object))
    for name, words in (("a.npy", "a single .npy array"), ("w.pth", "a PyTorch file"), ("o.npz", "'ids' of")):
        with pytest.raises(DataError, match=words):
            Predictions.load(tmp_path / name)


def test_torch_tensors_with_gradients_and_half_precision():
    import torch

    z = torch.tensor(AUDIO, requires_grad=True)
    found = read(logits_audio=z, logits_video=torch.tensor(VIDEO).bfloat16())
    assert np.allclose(found.logits["audio"], AUDIO)
    assert np.allclose(found.logits["video"], VIDEO, rtol=1e-2)
