"""Foreign files, written here by hand, and what mmbal makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from mmbal.errors import DataError, UsageError
from mmbal.predictions.readers import predictions_from_csv, predictions_from_head

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
        ("label,m:x,m:y\n", "no samples"),
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
    got = predictions_from_head(features(tmp_path, clip_id=np.array(["p", "q"])), head)
    # by hand: audio row 0 = (1, 2): (1, 2, 3) + b/2;  video row 0 = 3: (6, 0, -3) + b/2
    assert got.contribution["audio"][0].tolist() == [1.25, 2.0, 2.75]
    assert got.contribution["video"][0].tolist() == [6.25, 0.0, -3.25]
    assert got.fused[0].tolist() == [7.5, 2.0, -0.5]
    assert got.classes == ("x", "y", "z")
    assert got.ids.tolist() == ["p", "q"]
    assert got.weight["video"].tolist() == [[2.0], [0.0], [-1.0]]


def test_a_missing_modality_has_no_part(tmp_path):
    path = features(tmp_path, weight_audio=WEIGHT[:, :2], weight_video=WEIGHT[:, 2:], present_video=np.array([1, 0]))
    got = predictions_from_head(path)
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
        predictions_from_head(features(tmp_path, **more))
    assert says in caught.value.message


NAMES = ["no", "maybe", "yes"]


def table(form="{:.5f}", separator=",", decimal=".", audio=None, video=None, label=str, n=60, before="", extra=""):
    """A CSV of 60 samples, two modalities of three classes; the scores are probabilities unless they are given."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    z = rng.normal(size=(2, n, 3)) + 2 * np.eye(3)[y]
    p = np.exp(z) / np.exp(z).sum(axis=2, keepdims=True)
    audio, video = (p[k] if given is None else given(z[k], p[k]) for k, given in enumerate((audio, video)))
    lines = [separator.join([*([before] if before else []), "id", "label", "split",
                             *(f"{m}:{c}" for m in ("audio", "video") for c in NAMES)]) + extra]  # fmt: skip
    for i in range(n):
        cells = [form.format(x).replace(".", decimal) for x in (*audio[i], *video[i])]
        cells = [f'"{cell}"' if decimal == separator else cell for cell in cells]
        lines.append(separator.join([f"c{i}", label(NAMES[y[i]]), ["Validation", "TEST "][i % 2], *cells]) + extra)
    return "\n".join(lines) + "\n", p


def same(found, p, tolerance=1e-4):
    assert found.labels.tolist() == [i % 3 for i in range(len(found))]
    assert found.splits() == {"val": len(found) // 2, "test": len(found) // 2}
    for m, k in (("audio", 0), ("video", 1)):
        assert np.allclose(np.exp(found.logits[m]), p[k], atol=tolerance)


@pytest.mark.parametrize(
    ("options", "encoding", "tolerance"),
    [
        ({}, "utf-8", 1e-4), ({}, "utf-8-sig", 1e-4), ({}, "utf-16", 1e-4), ({}, "utf-16-le", 1e-4),
        ({"separator": ";", "decimal": ","}, "utf-8", 1e-4), ({"decimal": ","}, "utf-8", 1e-4),
        ({"separator": "\t"}, "utf-8", 1e-4), ({"separator": "|"}, "utf-8", 1e-4), ({"form": "{:.1f}"}, "utf-8", 0.051),
        ({"form": "{:.2%}"}, "utf-8", 1e-4), ({"form": "{:.1%}", "separator": ";", "decimal": ","}, "utf-8", 1e-3),
        ({"extra": ",,"}, "utf-8", 1e-4),
    ],
)  # fmt: skip
def test_a_table_in_any_usual_writing_gives_the_same_probabilities(tmp_path, options, encoding, tolerance):
    text, p = table(**options)
    (tmp_path / "scores.csv").write_bytes(text.encode(encoding))
    same(predictions_from_csv(tmp_path / "scores.csv"), p, tolerance)


def test_the_form_of_the_numbers_is_told_by_modality(tmp_path):
    def form(**given):
        return predictions_from_csv(write(tmp_path, table(**given)[0]))

    def percent(z, p):
        return 100 * p

    def sigmoids(z, p):
        return 1 / (1 + np.exp(-z))

    def logits(z, p):
        return z

    found = form(audio=percent, video=percent, form="{:.3f}")
    assert found.meta["scores"] == "percent"
    same(found, table()[1])
    assert form(audio=percent, video=percent, form="{:.0f}").meta["scores"] == "percent"
    found = form(audio=sigmoids, video=sigmoids)
    assert found.meta["scores"] == "one-vs-rest"
    assert np.allclose(found.logits["audio"], form(audio=logits, video=logits).logits["audio"], atol=5e-3)
    found = form(video=logits)
    assert found.meta["scores"] == {"audio": "probabilities", "video": "logits"}
    assert "a mix (audio: probabilities; video: logits)" in found.warnings[0]
    assert "rounded to 1 decimals" in "".join(form(form="{:.1f}").warnings)
    assert form(audio=logits, video=logits).warnings == ()


def test_scores_that_are_said_to_be_logits_stay_as_they_are_also_when_read_again(tmp_path):
    text, p = table()
    found = predictions_from_csv(write(tmp_path, text), scores="logits")
    assert np.allclose(found.logits["audio"], p[0], atol=1e-4)
    found.save(tmp_path / "p.npz")
    again = type(found).load(tmp_path / "p.npz")
    assert np.allclose(again.logits["audio"], p[0], atol=1e-4)
    assert again.warnings == ()


def test_rows_that_do_not_fit_the_others_are_told_with_their_line(tmp_path):
    text, _ = table(n=30)
    found = predictions_from_csv(write(tmp_path, text + "z,no,test,0,0,0,0.2,0.3,0.5\n"))
    assert "the sum of 1 row of 'audio' differs from that of the others (first: row 32)" in found.warnings
    with pytest.raises(DataError, match=r"row 32: there is no label"):
        predictions_from_csv(write(tmp_path, text + "z,,test,0.2,0.3,0.5,0.2,0.3,0.5\n"))
    with pytest.raises(DataError, match=r"row 34, column 'audio:no': the score is infinite"):
        predictions_from_csv(write(tmp_path, text + "\n\nz,no,test,inf,0.3,0.5,0.2,0.3,0.5\n"))


def test_what_is_around_the_table_is_passed_over_and_told(tmp_path):
    text, p = table()
    header, *lines = text.splitlines()
    indexed = "\n".join(["," + header, *(f"{k},{line}" for k, line in enumerate(lines))])
    found = predictions_from_csv(write(tmp_path, indexed))
    same(found, p)
    assert "it is an index" in found.warnings[0]
    same(predictions_from_csv(write(tmp_path, "sep=;\n" + text.replace(",", ";"))), p)
    latin = text.replace("maybe", "vielleicht schön")
    (tmp_path / "scores.csv").write_bytes(latin.encode("latin-1"))
    found = predictions_from_csv(tmp_path / "scores.csv")
    assert found.classes[1] == "vielleicht schön"
    assert "read as Windows-1252" in found.warnings[0]


def test_labels_of_a_table_as_numbers(tmp_path):
    for labels in ({"no": "0", "maybe": "1", "yes": "2"}, {"no": "0.0", "maybe": "1.0", "yes": "2.0"}):
        text, p = table(label=labels.get)
        found = predictions_from_csv(write(tmp_path, text))
        same(found, p)
        assert found.classes == tuple(NAMES)
        assert "positions in the order of the classes" in found.warnings[0]
    with pytest.raises(DataError, match="'maybes', which is not among") as caught:
        predictions_from_csv(write(tmp_path, table(label="{}s".format)[0]))
    assert "Did you mean maybe" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04\x95\x0b\x00", "is a pickle"),
        (b"a;no;test;1.234,5;2;3;4", "no samples"),
        (b"label;m:x;m:y\nx;1.234,5;2\n", "'1.234,5' is not a number"),
        (b"label,m:x,m:y\nx,1_0,2\n", "'1_0' is not a number"),
        (b"label,m:x,m:y,\nx,1,2,3\n", "column 4 has cells, but no name"),
        (b'label,m:x,m:y\n"x,1,2\n', "not a readable table (line 2"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, content, words):
    (tmp_path / "scores.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        predictions_from_csv(tmp_path / "scores.csv")
    assert words in caught.value.message
