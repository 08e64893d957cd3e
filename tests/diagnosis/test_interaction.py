"""What two modalities give together: the interaction by hand, its word, and the joint signal."""

from __future__ import annotations

import numpy as np
import pytest

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.sections.interaction import kind_of
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.shapley import shapley_interactions
from mmbal.predictions.format import Predictions


def world(a, b, both, labels, classes=2, none=None):
    """Decisions (class indices) of a alone, b alone and both, as one-hot logits of strength 2."""
    sure = 2.0 * np.eye(classes)
    arrays = {"logits_a": sure[a], "logits_b": sure[b], "fused": sure[both]}
    arrays |= {"subset_a": sure[a], "subset_b": sure[b], "subset_a+b": sure[both]}
    if none is not None:
        arrays["subset_"] = sure[none]
    return Predictions.from_arrays({"labels": labels, **arrays})


def test_of_two_by_hand():
    """Of 20 samples a has 14 right, b 12, both 18, and no modality always says 0, which is right in 10."""
    labels = np.repeat([0, 1], 10)

    def right(n):
        return np.where(np.arange(20) % 20 < n, labels, 1 - labels)

    p = world(right(14), right(12), right(18), labels, none=np.zeros(20, dtype=int))
    found = diagnose(p, bootstrap=100, rule="temperature")
    pair = found.interaction["a+b"]
    assert pair.accuracy.value == pytest.approx((18 - 14 - 12 + 10) / 20)
    # log-likelihood is log_right = -log(1 + e^-2) where right, log_right - 2 where wrong: the constants cancel
    assert pair.log_likelihood.value == pytest.approx(2 * (18 - 14 - 12 + 10) / 20)
    assert pair.joint.value == pytest.approx((18 - 14) / 20)
    # class 0: a 10, b 10, both 10, none 10 of 10; class 1: a 4, b 2, both 8, none 0
    assert found.classes["0"].interaction["a+b"].accuracy.value == pytest.approx(0.0)
    assert found.classes["1"].interaction["a+b"].accuracy.value == pytest.approx((8 - 4 - 2 + 0) / 10)


def test_of_three_by_the_formula():
    """I_ab = 1/2 (v(ab) - v(a) - v(b) + v()) + 1/2 (v(abc) - v(ac) - v(bc) + v(c))."""
    v = {(): 1.0, ("a",): 2.0, ("b",): 4.0, ("c",): 8.0, ("a", "b"): 16.0, ("a", "c"): 32.0, ("b", "c"): 64.0}
    v["a", "b", "c"] = 128.0
    found = shapley_interactions(v, ("a", "b", "c"))
    assert found["a", "b"] == pytest.approx((16 - 2 - 4 + 1) / 2 + (128 - 32 - 64 + 8) / 2)
    assert found["a", "c"] == pytest.approx((32 - 2 - 8 + 1) / 2 + (128 - 16 - 64 + 4) / 2)


@pytest.mark.parametrize(
    ("low", "value", "high", "p", "kind"),
    [
        (-0.2, -0.1, -0.05, 0.001, "redundant"),
        (0.05, 0.1, 0.2, 0.001, "synergistic"),
        (0.005, 0.01, 0.015, 0.001, "additive"),  # shown, but of no size
        (-0.01, 0.001, 0.012, 0.8, "additive"),
        (-0.01, 0.03, 0.07, 0.2, None),  # neither a size nor its absence
        (0.01, 0.1, 0.2, 0.06, None),  # not shown after Holm's correction
        (None, 0.1, None, None, None),
    ],
)
def test_the_word_follows_the_test_and_the_margin(low, value, high, p, kind):
    assert kind_of(Estimate(value=value, low=low, high=high), p, 0.02, 0.05) == kind


def test_an_interaction_of_few_samples_is_not_shown():
    """Of 20 samples a and b have 12 right, both 13: an interaction of (13 - 12 - 12 + 10) / 20, far within chance."""
    labels = np.repeat([0, 1], 10)

    def right(where):
        return np.where(where, labels, 1 - labels)

    n = np.arange(20)
    p = world(right(n % 5 < 3), right(n % 5 > 1), right(n < 13), labels, none=np.zeros(20, dtype=int))
    pair = diagnose(p, bootstrap=100, rule="temperature").interaction["a+b"]
    assert pair.accuracy.value == pytest.approx(-1 / 20)
    assert pair.kind == {"accuracy": None, "log_likelihood": None}


def told(p):
    return " ".join(diagnose(p, bootstrap=100, rule="temperature").verdict)


def test_exclusive_or_is_synergistic_with_a_joint_signal():
    rng = np.random.default_rng(0)
    a, b = rng.integers(2, size=(2, 400))
    p = world(a, b, a ^ b, a ^ b, none=np.zeros(400, dtype=int))
    text = told(p)
    assert "A and b are synergistic (interaction +" in text
    assert "joint signal: shown." in text


def test_two_copies_are_redundant_without_a_joint_signal():
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    copy = np.where(rng.random(400) < 0.9, labels, 1 - labels)
    text = told(world(copy, copy, copy, labels, none=np.zeros(400, dtype=int)))
    assert "A and b are redundant (interaction −" in text
    assert "joint signal: not shown." in text


def test_the_interval_of_the_joint_gain_is_the_smaller_of_both():
    """Both is right in 30 of 40, a in 20 and b in 10 of these: the gain over a decides, 10 of 40."""
    labels = np.zeros(40, dtype=int)
    labels[::2] = 1

    def right(n):
        return np.where(np.arange(40) < n, labels, 1 - labels)

    joint = diagnose(world(right(20), right(10), right(30), labels), bootstrap=100, rule="temperature")
    joint = joint.interaction["a+b"].joint
    gain = np.repeat([0.0, 1.0, 0.0], [20, 10, 10])
    wider = np.append(gain, [-1.0, 1.0])
    half = (
        2.0227 * wider.std(ddof=0) * np.sqrt(42 / 41) / np.sqrt(42)
    )  # t of 39 degrees of freedom, one unit at each bound
    assert joint.value == pytest.approx(0.25)
    assert joint.low == pytest.approx(wider.mean() - half, abs=1e-4)
