"""Does the gate do anything? By hand, in a world where it matters, and in one where it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmbal.decision import fit_rule
from mmbal.decision.fused import with_rule
from mmbal.diagnosis import diagnose
from mmbal.maths.folds import exchanged
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld


def lamps(n=600, informed=True, seed=0, **given):
    """Of every sample one modality is clear and the other misleads; an informed gate knows which one."""
    rng = np.random.default_rng(seed)
    labels, clear = rng.integers(3, size=n), rng.integers(2, size=n)
    logits = rng.normal(size=(2, n, 3))
    logits[clear, np.arange(n), labels] += 3.0
    weights = np.full((2, n), 0.1)
    weights[clear if informed else rng.permutation(clear), np.arange(n)] = 0.9
    fused = (weights[..., None] * logits).sum(axis=0)
    arrays = {"labels": labels, "fused": fused, "logits_a": logits[0], "logits_b": logits[1]}
    return Predictions.from_arrays({**arrays, "weights_a": weights[0], "weights_b": weights[1], **given})


def test_a_gate_that_knows_its_samples_matters():
    found = diagnose(lamps(), bootstrap=100, rule="temperature")
    assert found.gate.accuracy.low > 0.1
    assert "The gate matters: with its weights shuffled over the samples, the model loses " in " ".join(found.verdict)


def test_a_gate_that_knows_nothing_adds_nothing():
    p = lamps(12000, informed=False)
    found = diagnose(p, bootstrap=100, rule="temperature")
    assert abs(found.gate.accuracy.value) < 0.01
    assert "The gate adds nothing: " in " ".join(found.verdict)
    few = diagnose(p.take(np.arange(60)), bootstrap=100, rule="temperature")
    assert "The gate is not shown to add anything: " in " ".join(few.verdict)


def test_by_hand():
    """Two samples alike in all but the weights: each permutation either keeps both right or makes both wrong."""
    n = 20
    labels = np.tile([0, 1], n // 2)
    a, b = np.tile([[4.0, 0.0]], (n, 1)), np.tile([[0.0, 4.0]], (n, 1))  # a always says 0, b always 1
    weights = np.stack([labels == 0, labels == 1], axis=1).astype(float)
    arrays = {"logits_a": a, "logits_b": b, "weights_a": weights[:, 0], "weights_b": weights[:, 1]}
    p = Predictions.from_arrays({"labels": labels, **arrays, "fused": weights[:, [0]] * a + weights[:, [1]] * b})
    found = diagnose(p, bootstrap=100, rule="temperature").gate
    # a sample gets the weights of its own class in half of the permutations, and else the margin -4 instead of 4
    assert found.accuracy.value == pytest.approx(0.5, abs=0.1)
    assert found.log_likelihood.value == pytest.approx(4 * found.accuracy.value)
    assert found.weights["a"].value == 0.5
    assert found.spread["a"] == 0.5


def test_weights_stay_with_the_modalities_that_a_sample_has():
    present = np.array([[1, 1], [1, 0]] * 10, dtype=bool)
    weights = np.where(present, np.arange(40).reshape(20, 2), 0)
    found = weights[exchanged(present, np.random.default_rng(0))]
    assert (found[1::2, 1] == 0).all()
    assert sorted(found[1::2, 0]) == sorted(weights[1::2, 0])
    assert not (found == weights).all()


@pytest.mark.parametrize("rule", ["gate", "qmf", "pdf", "mla"])
def test_rules_with_weights_by_sample_give_them(rule):
    world = GaussianWorld("abc", ["x", "y"], [[2.0, 1.6, 1.2], [1.0, 1.4, 1.8]], missing=[0.1, 0.0])
    p = world.sample(400, seed=0)
    decided = with_rule(p, fit_rule(p.select("calibration"), rule), rule)
    found = diagnose(decided, bootstrap=100, rule="temperature")
    assert found.gate is not None
    assert set(found.gate.weights) == {"x", "y"}
    assert diagnose(p, bootstrap=100, rule="temperature").gate is None


def test_weights_that_do_not_make_the_decision_are_refused():
    p = lamps()
    found = diagnose(replace(p, fused=p.logits["a"]), bootstrap=100, rule="temperature")
    assert found.gate is None
    assert any(n.what == "gate" and "do not sum to the fused decision" in n.reason for n in found.not_computed)


def test_weights_are_read_and_written(tmp_path):
    lamps().save(tmp_path / "p.npz")
    again = Predictions.load(tmp_path / "p.npz")
    assert np.allclose(again.weights["a"], lamps().weights["a"])
    assert len(again.take(np.arange(7)).weights["b"]) == 7
