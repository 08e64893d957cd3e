"""Predictions without labels, and what has changed since an earlier diagnosis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.balance import claims_of
from mmbal.diagnosis.coalitions import decision_of
from mmbal.diagnosis.comparison import compare_diagnoses
from mmbal.diagnosis.conditions import Condition
from mmbal.diagnosis.policy import by_conditions, judge
from mmbal.errors import DataError, UsageError
from mmbal.maths.bootstrap import Bootstrap, Estimate
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

WORLD = GaussianWorld("abc", ["audio", "video"], [[2.0, 1.6, 1.2], [1.0, 1.4, 1.8]])


def unlabelled(p: Predictions) -> Predictions:
    arrays = {f"logits_{m}": p.logits[m] for m in p.modalities}
    arrays |= {f"contribution_{m}": p.contribution[m] for m in p.modalities}
    arrays |= {"classes": np.array(p.classes), "fused": p.fused, "split": p.split, "ids": p.ids}
    return Predictions.from_arrays(arrays, unlabelled=True)


def louder(p: Predictions, gain: float) -> Predictions:
    parts = {**p.contribution, "video": gain * p.contribution["video"]}
    return replace(p, contribution=parts, fused=sum(parts.values()))


def test_figures_that_need_no_labels_are_the_same_without_them():
    p = WORLD.sample(400, seed=0)
    known, found = (diagnose(x, bootstrap=100, rule="temperature") for x in (p, unlabelled(p)))
    assert found.accuracy is None
    assert found.data.labelled is False
    for m in p.modalities:
        assert found.contribution[m].value == pytest.approx(known.contribution[m].value)
        assert found.preference.follows[m].value == pytest.approx(known.preference.follows[m].value)
        assert found.preference.changes_without[m].value == pytest.approx(known.preference.changes_without[m].value)
    for pair, agree in found.samples.agreement.items():
        assert agree.value == pytest.approx(known.samples.agreement[pair].value)
    assert found.verdict[0].startswith("The predictions have no labels")
    assert any(n.what == "capability" and n.needs == "labels" for n in found.not_computed)
    with pytest.raises(UsageError, match=r"accuracy.fused' was not computed .the predictions have no labels"):
        Condition.parse("accuracy.fused > 0").judge(found)


def test_a_file_without_labels_is_read_by_the_diagnosis_only(tmp_path):
    unlabelled(WORLD.sample(60, seed=0)).save(tmp_path / "p.npz")
    assert diagnose(tmp_path / "p.npz", bootstrap=100).data.labelled is False
    with pytest.raises(DataError, match="no array 'labels'"):
        Predictions.load(tmp_path / "p.npz")
    with pytest.raises(UsageError, match="has no labels"):
        compare_diagnoses({"a": unlabelled(WORLD.sample(60, seed=0)), "b": WORLD.sample(60, seed=0)})
    near = {"lables": np.zeros(3), "logits_a": np.zeros((3, 2))}
    with pytest.raises(DataError, match="no array 'labels'") as caught:
        Predictions.from_arrays(near, unlabelled=True)
    assert "Is 'lables' it?" in caught.value.hint


def test_the_change_by_hand():
    """The interval is 1.96 times the root of the sum of both squared standard errors; before it was .05 / 1.96."""
    p = WORLD.sample(400, seed=0)
    found = diagnose(unlabelled(p), bootstrap=100)
    before = {**found.contribution, "audio": Estimate(value=0.3, low=0.25, high=0.35)}
    after = diagnose(unlabelled(p), baseline=found.model_copy(update={"contribution": before}), bootstrap=100)
    rows = p.select("test")
    value = claims_of(decision_of(rows), rows, Bootstrap.of(len(rows), replicates=1))[1][:, 0]
    error = np.hypot(value.std(ddof=1) / np.sqrt(len(value)), 0.05 / 1.959964)
    change = after.change["contribution.audio"]
    assert change.value == pytest.approx(found.contribution["audio"].value - 0.3)
    assert change.low == pytest.approx(change.value - 1.959964 * error, abs=1e-6)
    assert Condition.parse("change.contribution.audio > 0.1").judge(after).holds
    (judged,) = judge(by_conditions(["change.contribution.audio > 0.1"]), "after", after, by_value=True)
    assert judged.state == "fail"


def test_the_values_of_a_contribution_have_its_mean_and_its_spread():
    """Delta method by hand: the share of a is sum a / sum (a + b); its slope by one sample is (a - share t) / mean t."""
    logits = {"a": np.array([[2.0, -2.0], [1.0, -1.0]] * 5), "b": np.array([[-1.0, 1.0], [3.0, -3.0]] * 5)}
    p = Predictions.from_arrays({"labels": np.zeros(10, dtype=int), **{f"logits_{m}": x for m, x in logits.items()}})
    _, values = claims_of(decision_of(p), p, Bootstrap.of(10, replicates=1))
    a, b = np.array([0.5, 0.5] * 5), np.array([2.0, 2.0] * 5)  # less their means (1.5 and 1) the parts have these sizes
    share = a.sum() / (a + b).sum()
    assert np.allclose(values[:, 0], share + (a - share * (a + b)) / (a + b).mean())


def test_a_louder_modality_is_told_of_and_nothing_else_is():
    first, second = WORLD.sample(2000, seed=0), WORLD.sample(2000, seed=1)
    baseline = diagnose(first, bootstrap=200, rule="temperature")
    same = diagnose(unlabelled(second), baseline=baseline, bootstrap=100)
    assert same.moved == []
    assert "No change since the baseline is shown." in same.verdict
    moved = diagnose(unlabelled(louder(second, 3.0)), baseline=baseline, bootstrap=100)
    assert {one.figure for one in moved.moved} >= {
        "contribution.video",
        "contribution.audio",
        "preference.follows.video",
    }
    assert moved.change["contribution.video"].low > 0.1
    assert "samples.agreement.audio+video" not in {one.figure for one in moved.moved}  # the modalities are as they were
    assert any(s.startswith("Since the baseline these have moved: ") for s in moved.verdict)


def test_a_baseline_of_another_model_is_refused():
    p, other = WORLD.sample(60, seed=0), GaussianWorld("abc", ["x", "y"], [[1.0] * 3] * 2).sample(60, seed=0)
    baseline = diagnose(unlabelled(other), bootstrap=100)
    with pytest.raises(DataError, match="has the modalities x, y"):
        diagnose(unlabelled(p), baseline=baseline, bootstrap=100)
    own = diagnose(unlabelled(p), bootstrap=100, confidence=0.9)
    with pytest.raises(DataError, match=r"level 0.9, not 0.95"):
        diagnose(unlabelled(p), baseline=own, bootstrap=100)
