"""The ends of what can be given: few and many modalities, classes and samples, both precisions, other machines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import write_store
from terminal import mmbal as command
from worlds import gaussian

import mmbal
from mmbal.diagnosis import diagnose
from mmbal.engine.config import TrainConfig
from mmbal.engine.train import train
from mmbal.predictions.format import Predictions
from mmbal.runs import find_predictions, read_metrics

REFERENCE = Path(__file__).parent / "reference.json"
TOLERANCE = 1e-3  # of validation NLL and contributions, between machines and versions of the libraries


def arrays(n: int, c: int, modalities: int, dtype: type = np.float64) -> dict[str, np.ndarray]:
    found = gaussian(n, c, modalities)
    return {"labels": found.labels, **{f"logits_{m}": x.astype(dtype) for m, x in found.logits.items()}}


@pytest.mark.parametrize(("modalities", "classes"), [(1, 3), (2, 2), (8, 3)])
def test_few_and_many_modalities_and_classes(modalities, classes):
    given = arrays(300, classes, modalities)
    found = diagnose(given, bootstrap=100)
    assert found.data.classes == classes or len(found.data.classes) == classes
    assert found.verdict
    rule = mmbal.fit_rule(given, "temperature")
    assert np.isfinite(rule.apply(Predictions.from_arrays(given))).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_sample_or_one_a_class_is_diagnosed_or_refused_in_a_sentence(n, tmp_path):
    np.savez(tmp_path / "p.npz", labels=np.arange(n), logits_a=np.eye(3)[:n], logits_b=2 * np.eye(3)[:n])
    result = command("diagnose", tmp_path / "p.npz", "--json")
    assert result.exit_code in (0, 4), result.output
    assert "Internal error" not in result.output
    if result.exit_code == 0:
        assert json.loads(result.stdout)["data"]["samples"] == n
    else:
        assert "Error: " in result.stderr


def test_one_class_is_said_or_refused_in_a_sentence(tmp_path):
    np.savez(tmp_path / "one.npz", labels=np.zeros(20, int), logits_a=np.zeros((20, 1)), logits_b=np.zeros((20, 1)))
    result = command("diagnose", tmp_path / "one.npz")
    assert result.exit_code == 0, result.output
    assert "All samples are of one class" in result.stdout
    np.savez(tmp_path / "f.npz", label=np.zeros(20, int), a=np.random.default_rng(0).normal(size=(20, 3)))
    result = command("prepare", tmp_path / "f.npz", "--out", tmp_path / "store")
    assert result.exit_code in (0, 2, 4)
    assert "class" in result.output


def test_both_precisions_agree():
    wide, narrow = (diagnose(arrays(300, 4, 3, dtype), bootstrap=100) for dtype in (np.float64, np.float32))
    for m, share in wide.contribution.items():
        assert narrow.contribution[m].value == pytest.approx(share.value, abs=1e-5)
    assert narrow.accuracy.fused.value == wide.accuracy.fused.value


@pytest.mark.parametrize("modalities", [1, 8])
def test_a_training_of_one_and_of_eight_modalities_whose_contributions_sum_to_the_decision(tmp_path, modalities):
    store = write_store(tmp_path / "store", {f"m{k}": 3 for k in range(modalities)}, rows=65)
    given = TrainConfig(data=str(store.path), epochs=1, batch_size=16, device="cpu")
    found = find_predictions(train(given, out=tmp_path / "run").folder)
    np.testing.assert_allclose(sum(found.contribution.values()), found.fused, atol=1e-5)


def test_a_store_that_leaves_a_batch_of_one_is_trained_on(tmp_path):
    store = write_store(tmp_path / "store", {"a": 3, "b": 2}, rows=66)  # 33 or 34 to train on
    given = TrainConfig(data=str(store.path), epochs=1, batch_size=32, device="cpu")
    assert train(given, out=tmp_path / "run").summary["epochs"] == 1


def test_the_reference_run(toy, tmp_path):
    """Figures that were stored on another machine and day; `docs/reliability.md` has the tolerance."""
    found = figures(toy({"audio": 6, "video": 4}).path, tmp_path / "run")
    expected = json.loads(REFERENCE.read_text())
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=TOLERANCE, err_msg=name)


def figures(store: Path, out: Path) -> dict[str, list[float]]:
    """The validation NLL by epoch of a run of joint training, and mean absolute contributions on its test split."""
    given = TrainConfig(data=str(store), epochs=4, batch_size=16, device="cpu")
    folder = train(given, out=out).folder
    parts = Predictions.load(folder / "predictions" / "test.npz").contribution
    return {
        "nll": [epoch["val"]["nll"] for epoch in read_metrics(folder)],
        **{f"contribution/{m}": np.abs(part).mean(axis=0).tolist() for m, part in parts.items()},
    }
