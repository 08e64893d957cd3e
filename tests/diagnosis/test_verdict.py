"""The verdict claims what intervals show, and nothing else."""

import numpy as np
import pytest

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.verdict import advice_of, verdict_of
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.synthetic import GaussianWorld

STRENGTH = [[2.0, 1.6, 1.2], [1.0, 1.4, 1.8]]


def world(**kind):
    return GaussianWorld("abc", ["audio", "video"], STRENGTH, **kind)


@pytest.fixture(scope="module")
def loud():
    """Video is six times too loud."""
    return diagnose(world(dominance=[1.0, 6.0]).sample(1600, seed=0), bootstrap=200, rule="pool", source="runs/x")


def test_a_loud_modality_is_named_with_its_worth_and_its_price(loud):
    text = " ".join(loud.verdict)
    assert text.startswith("Video decides")
    assert "Audio is worth" in text
    assert "but has only" in text
    assert "The model loses" in text
    assert loud.advice[0].command == "mmbal calibrate runs/x"


def test_a_balanced_model_is_told_so():
    found = diagnose(world().sample(1600, seed=0), bootstrap=200, rule="pool")
    text = " ".join(found.verdict)
    assert "No imbalance shown" in text
    assert "No loss is shown at the decision layer" in text
    assert not any("calibrate" in advice.command for advice in found.advice)


def changed(diagnosis, **sections):
    return diagnosis.model_copy(update=sections)


def test_an_interval_that_covers_zero_takes_the_claim_away(loud):
    gap = loud.decision_gap.model_copy(
        update={"accuracy": Estimate(value=0.05, low=-0.01, high=0.1), "nats": Estimate(value=0.1, low=-0.1, high=0.3)}
    )
    text = " ".join(verdict_of(changed(loud, decision_gap=gap)))
    assert "loses" not in text
    assert "No loss is shown at the decision layer (5.0 points [-1.0, 10.0])" in text
    advice = advice_of(changed(loud, decision_gap=gap), "runs/x")
    assert not any("calibrate" in a.command for a in advice)


def test_lost_likelihood_without_lost_accuracy_is_said_apart(loud):
    gap = loud.decision_gap.model_copy(
        update={"accuracy": Estimate(value=0.0, low=-0.01, high=0.01), "nats": Estimate(value=0.1, low=0.05, high=0.2)}
    )
    text = " ".join(verdict_of(changed(loud, decision_gap=gap)))
    assert "No accuracy is shown to be lost" in text
    assert "0.10 nats [0.05, 0.20]" in text


def test_overlapping_follow_rates_name_no_decider(loud):
    preference = loud.preference.model_copy(
        update={"follows": {m: Estimate(value=v, low=0.4, high=0.6) for m, v in (("audio", 0.5), ("video", 0.51))}}
    )
    assert "No modality decides alone" in verdict_of(changed(loud, preference=preference))[0]


def test_one_modality_has_no_balance():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=200)
    from mmbal.predictions.format import Predictions

    logits = rng.normal(size=(200, 3)) + 2 * np.eye(3)[labels]
    found = diagnose(Predictions.from_arrays({"labels": labels, "logits_a": logits}), bootstrap=100, rule="pool")
    assert found.verdict[0].startswith("There is one modality only")
    assert found.index is None
    assert any(n.what == "index" for n in found.not_computed)
