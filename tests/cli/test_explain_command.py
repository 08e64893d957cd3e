"""`mmbal explain`: the user's module, arrays and tables, the file that is written, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from terminal import as_json, ok, refused

from mmbal.predictions.format import Predictions

MODULE = """
import numpy as np

WEIGHT = {"audio": np.array([[-1.0, 1.0]]), "video": np.array([[-0.4, 0.4]])}


def predict(batch):
    return sum(batch[m] @ w for m, w in WEIGHT.items())


def of_table(rows):
    score = rows["pitch"] + 0.5 * rows["energy"] + 0.3 * rows["v_1"]
    return np.stack([-score, score], axis=1)


def broken(batch):
    raise RuntimeError("no such layer")


class Model:
    predict = staticmethod(predict)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 60)
    side = 2.0 * label[:, None] - 1
    audio, video = side + rng.normal(size=(60, 1)), 0.3 * side + rng.normal(size=(60, 1))
    split = np.where(np.arange(60) % 2, "val", "test")
    np.savez("data.npz", audio=audio, video=video, label=label, split=split)
    lines = ["id,label,split,pitch,energy,v_1,note"]
    lines += [f"c{i},{['no', 'yes'][label[i]]},{split[i]},{audio[i, 0]},{i % 3},{video[i, 0]},x" for i in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "explained_model.py").write_text(MODULE)
    return tmp_path


def test_arrays(here):
    asked = [
        "explain",
        "explained_model.py:predict",
        "--data",
        "data.npz",
        "--baseline",
        "zero",
        "--baseline",
        "shuffled",
    ]
    said = ok(*asked, "--out", "mine.npz")
    assert "mmbal diagnose mine.npz" in said
    assert "An absent modality is replaced by zeros" in " ".join(said.split())
    found = Predictions.load("mine.npz")
    assert found.modalities == ("audio", "video")
    assert found.splits() == {"test": 30, "val": 30}
    assert list(found.baselines) == ["shuffled"]
    given = np.load("data.npz")
    np.testing.assert_allclose(found.subsets[("video",)], given["video"] @ [[-0.4, 0.4]], atol=1e-6)


def test_a_table_with_groups_of_columns(here):
    pytest.importorskip("pandas")
    document = as_json(
        "explain", "explained_model.py:of_table", "--data", "table.csv", "--modality", "audio=pitch,energy", "--modality",
        "video=v_*", "--out", "mine.npz", "--cache", "answers",
    )  # fmt: skip
    assert document["data"]["modalities"] == ["audio", "video"]
    assert list(document["data"]["classes"]) == ["no", "yes"]
    found = Predictions.load("mine.npz")
    assert found.ids[0] == "c0"
    refused(
        2,
        "explain",
        "explained_model.py:of_table",
        "--data",
        "table.csv",
        "--modality",
        "audio=pitch",
        "--out",
        "mine.npz",
    )


@pytest.mark.parametrize(
    ("code", "function", "more", "message"),
    [
        (2, "explained_model.py", [], "not of the form MODULE:FUNCTION"),
        (2, "no_such_module:predict", [], "There is no module 'no_such_module'"),
        (2, "explained_model.py:predictt", [], "has no 'predictt'"),
        (
            4,
            "explained_model.py:broken",
            [],
            "predict failed on the full inputs, rows 0, 1, 2 and 57 more: RuntimeError",
        ),
        (2, "explained_model.py:predict", ["--modality", "audio"], "only one modality"),
        (2, "explained_model.py:predict", ["--modality", "audioo"], "no column 'audioo'"),
        (2, "explained_model.py:predict", ["--label", "klass"], "no column 'klass'"),
        (2, "explained_model.py:predict", ["--baseline", "zeros"], "no baseline 'zeros'"),
    ],
)
def test_what_is_refused(here, code, function, more, message):
    assert message in refused(code, "explain", function, "--data", "data.npz", "--out", "new.npz", *more)
    assert not (here / "new.npz").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["calibrate", "data.npz", "--rule", "adaptve", "--out", "taken.json"],
        ["diagnose", "data.npz", "--rule", "adaptve", "--out", "taken.json"],
        ["explain", "explained_model.py:predict", "--data", "data.npz", "--baseline", "zeros", "--out", "taken.json"],
        ["explain", "explained_model.py:predictt", "--data", "data.npz", "--out", "taken.json"],
        ["init", "taken.json", "--method", "jont"],
        ["report", "data.npz", "--label", "mine", "--out", "taken.json"],
    ],
)
def test_a_wrong_name_is_told_before_a_file_that_is_there(here, command):
    (here / "taken.json").write_text("{}")
    assert "exists already" not in refused(2, *command)


def test_an_ending_is_refused_before_the_rule_is_read(here):
    assert "neither .npz nor .csv" in refused(2, "apply", "no.rule.json", "data.npz", "--out", "new.txt")
