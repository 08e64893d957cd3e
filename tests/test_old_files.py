"""Files that version 0.1.0 wrote still load and mean the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mmbal.data.store.store import Store
from mmbal.decision import rule_from_json
from mmbal.diagnosis import Diagnosis, diagnose
from mmbal.engine.checkpoint import load_model
from mmbal.engine.train import resume
from mmbal.files import read_json
from mmbal.predictions.format import Predictions
from mmbal.report.compare import compare
from mmbal.runs import find_predictions, find_reference

OLD = Path(__file__).parent / "old" / "0.1.0"
RULES = sorted(path.stem for path in (OLD / "rules").glob("*.json"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The old folders, where they may be written to."""
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old" / "runs"


def test_a_store():
    store = Store.open(OLD / "store")
    assert (store.name, store.classes, len(store.ids)) == ("features", ("a", "b", "c"), 60)
    given = np.load(OLD / "features.npz")
    np.testing.assert_array_equal(store.arrays["audio"], given["audio"])


def test_predictions_and_their_diagnosis():
    p = Predictions.load(OLD / "predictions.npz")
    assert (p.modalities, len(p), len(p.subsets)) == (("audio", "video"), 15, 4)
    old = Diagnosis.load(OLD / "diagnosis.json")
    assert old.data.samples == 15
    new = diagnose(p, bootstrap=100)
    assert new.accuracy.fused.value == old.accuracy.fused.value
    assert new.contribution["audio"].value == pytest.approx(old.contribution["audio"].value, abs=1e-9)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_decides_as_it_did(name):
    rule = rule_from_json(read_json(OLD / "rules" / f"{name}.json"))
    found = rule.apply(Predictions.load(OLD / "runs" / "joint" / "predictions" / "test.npz"))
    np.testing.assert_allclose(found, np.load(OLD / "rules" / "expected.npz")[name], atol=1e-9)


def test_a_run_with_its_rule_its_diagnosis_and_its_reference(runs):
    found = find_predictions(runs / "joint")
    assert found.meta["rule"] == "adaptive"
    assert Diagnosis.load(runs / "joint" / "diagnosis.json").data.modalities == ["audio", "video"]
    assert find_reference(runs / "joint") is not None
    assert len(compare([runs / "joint", runs / "pretrained"]).rows) == 2
    model = load_model(runs / "joint")
    assert model.rule is not None
    assert set(model.model.modalities) == {"audio", "video"}


def test_a_finished_run_is_known_as_finished(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    assert resume(runs / "joint").summary["best_epoch"] == 2
