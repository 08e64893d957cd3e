"""Samples to look at: wrong labels, wrong files, and none where there are none."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from mmbal.cli.app import app
from mmbal.diagnosis import diagnose
from mmbal.diagnosis.sections.suspects import Mixture, product
from mmbal.predictions.format import Predictions


def sure(n: int = 400, wrong: int = 0, odd: int = 0) -> Predictions:
    """Two modalities that are right; the first ``wrong`` labels and the next ``odd`` sounds are false."""
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=n)
    logits = {m: rng.normal(size=(n, 4)) + 9.0 * np.eye(4)[truth] for m in ("audio", "video")}
    labels = truth.copy()
    labels[:wrong] = (truth[:wrong] + 1) % 4
    rows = np.arange(wrong, wrong + odd)
    logits["audio"][rows] = np.roll(logits["audio"][rows], 1, axis=1)
    ids = np.array([f"clip {k}" for k in range(n)])
    return Predictions.from_arrays({"labels": labels, "ids": ids, **{f"logits_{m}": x for m, x in logits.items()}})


def test_the_product_of_what_a_sample_has_by_hand():
    """Each modality's log-probabilities after its scale: softmax(2, 0) times softmax(0, 1), and of one alone."""
    given = {"labels": [0, 1], "logits_a": [[1, 0], [5, 0]], "logits_b": [[0, 1], [0, 3]], "present_a": [True, False]}
    p = Predictions.from_arrays({k: np.asarray(v) for k, v in given.items()})
    a, b = np.log([np.exp(2), 1]) - np.log(1 + np.exp(2)), np.array([0, 1]) - np.log(1 + np.exp(1))
    alone = np.array([0, 3]) - np.log(1 + np.exp(3))
    np.testing.assert_allclose(product(p, {"a": 2.0, "b": 1.0}), [a + b, alone])


def test_a_wrong_label_and_a_wrong_file_are_found_by_id():
    found = diagnose(sure(wrong=12, odd=8), bootstrap=100, rule="temperature")
    assert found.suspects.count == {"label": 12, "audio": 8, "video": 0}
    assert {one.id for one in found.suspects.rows if one.suspect == "label"} == {f"clip {k}" for k in range(12)}
    assert {one.id for one in found.suspects.rows if one.suspect == "audio"} == {f"clip {k}" for k in range(12, 20)}
    one = next(one for one in found.suspects.rows if one.id == "clip 0")
    assert int(one.label) == (int(one.says) + 1) % 4
    assert any(s.startswith("12 labels and 8 files of audio look wrong") for s in found.verdict)


def test_where_nothing_is_wrong_nothing_is_said():
    found = diagnose(sure(), bootstrap=100, rule="temperature")
    assert found.suspects.rows == []
    assert not any("look wrong" in s for s in found.verdict)


def test_a_modality_called_label_has_figures_of_its_own():
    plain = sure(n=120, wrong=6, odd=4)
    arrays = {"labels": plain.labels, "logits_label": plain.logits["audio"], "logits_video": plain.logits["video"]}
    found = diagnose(Predictions.from_arrays(arrays), bootstrap=100, rule="temperature").suspects
    same = diagnose(plain, bootstrap=100, rule="temperature").suspects
    called = {"label": "the label", "audio": "label", "video": "video"}
    assert found.count == {called[what]: n for what, n in same.count.items()}
    assert found.p == {called[what]: p for what, p in same.p.items()}
    assert same.count["label"] > 0


def test_the_doubt_by_hand():
    """With scale 1 and share .2 of 2 classes: .1 / (.8 p + .1), where p is the probability of the label."""
    logits = np.log([[0.9, 0.1], [0.9, 0.1]])
    found = Mixture(scale=1.0, share=0.2, p=0.0).doubt(logits, np.array([0, 1]))
    assert found == pytest.approx([0.1 / (0.8 * 0.9 + 0.1), 0.1 / (0.8 * 0.1 + 0.1)])


def test_the_mixture_recovers_the_share_of_random_labels_and_the_scale():
    rng = np.random.default_rng(0)
    z = 3 * rng.normal(size=(4000, 5))
    drawn = (z + rng.gumbel(size=z.shape)).argmax(axis=1)  # labels from softmax(z)
    labels = np.where(rng.random(4000) < 0.1, rng.integers(5, size=4000), drawn)
    found, clean = Mixture.fit(2 * z, labels), Mixture.fit(2 * z, drawn)
    assert found.share == pytest.approx(0.1, abs=0.02)
    assert found.scale == pytest.approx(0.5, abs=0.05)
    assert found.p < 1e-6
    assert clean.share < 0.01
    assert clean.p > 0.05


def test_the_table_of_the_command(tmp_path):
    sure(wrong=3).save(tmp_path / "p.npz")
    asked = ["diagnose", str(tmp_path / "p.npz"), "--bootstrap", "100", "--rule", "temperature"]
    asked += ["--suspects", str(tmp_path / "s.csv")]
    assert CliRunner().invoke(app, asked).exit_code == 0
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert {row["id"] for row in rows} == {"clip 0", "clip 1", "clip 2"}
    assert {row["suspect"] for row in rows} == {"label"}
    assert CliRunner().invoke(app, asked).exit_code == 2  # it is not overwritten
