"""What `mmbal calibrate` stores, what it tells by class, and how `--protect` bounds what a class may lose."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, t
from terminal import as_json, ok
from worlds import modular

from mmbal.decision import at_least_as_good, calibrate, fit_rule, rule_from_json, rule_to_json
from mmbal.decision.gains import Gain, same_order
from mmbal.decision.protect import additions, most_lost, within_bound
from mmbal.diagnosis import diagnose
from mmbal.errors import ConfigError
from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.scoring import correct
from mmbal.maths.significance import holm, sign_p, sign_test
from mmbal.predictions.format import Predictions

FAST = ("sum", "best")


def row(accuracy: float, nll: float) -> dict:
    return {"rule": "pool", "accuracy_gain": Gain(value=0, least=accuracy), "nll_gain": Gain(value=0, least=nll)}


def test_both_gains_must_lie_above_minus_their_margin():
    assert at_least_as_good(row(-0.019, -0.019))[0]
    assert not at_least_as_good(row(-0.021, 0.5))[0]
    assert not at_least_as_good(row(0.1, -0.021))[0]
    assert at_least_as_good(row(-0.03, -0.03), accuracy_margin=0.04, nll_margin=0.04)[0]
    _, why = at_least_as_good(row(-0.021, 0.5))
    assert "not shown to be at least as good" in why
    assert "at least −2.1 pp (allowed: −2.0 pp)" in why
    assert "at least +0.500 nats (allowed: −0.020)" in why


def interval(estimate) -> tuple:
    return estimate.value, estimate.low, estimate.high


@pytest.fixture
def file(tmp_path):
    """A model of three classes that is right in four fifths, far too sure of itself, and no sum of its parts."""
    data = modular(n=90, c=3)
    split = np.where(np.arange(90) < 60, "calibration", "test")
    replace(data, fused=3 * data.fused, split=split).save(tmp_path / "mine.npz")
    return tmp_path / "mine.npz"


def test_a_rule_that_is_worse_is_not_stored(file):
    """The parts tell nothing, the model is right in four fifths. Before, the parts were compared with their sum."""
    rule = file.with_name("mine.rule.json")
    told = as_json("calibrate", file, "--rule", "mean", "--test")
    assert told["stored"] is None
    assert not told["at_least_as_good"]
    assert told["sentence"].endswith(": worse.")
    assert "not shown to be at least as good" in told["reason"]
    assert not rule.exists()
    text = " ".join(ok("calibrate", file, "--rule", "mean", "--force").split())
    assert "The decision as it is (fused) is right in" in text
    assert "not shown to be at least as good" in text
    assert "Stored in" in text
    assert rule_from_json(json.loads(rule.read_text())).modalities == ("a", "b")


def test_a_rule_that_changes_confidences_alone_is_stored_and_removed(file):
    rule = file.with_name("mine.rule.json")
    told = as_json("calibrate", file, "--rule", "temperature")
    assert told["stored"] == str(rule)
    gain = next(r for r in told["cross_fitted"] if r["rule"] == "temperature")["accuracy_gain"]
    assert gain == {"value": 0, "low": 0, "high": 0, "least": 0}
    assert rule_from_json(json.loads(rule.read_text())).takes_fused
    assert "Removed" in ok("calibrate", file, "--remove")
    assert not rule.exists()
    assert as_json("calibrate", file, "--remove")["removed"] is None


def test_decisions_that_can_not_change_have_no_interval():
    log_p = np.log([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert same_order(log_p, 0.3 * log_p)
    assert not same_order(log_p, np.log([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7]]))


def test_the_decision_gap_is_what_calibrate_gains(file):
    data = Predictions.load(file)
    for gap, told in (
        (diagnose(data, rule="bias").decision_gap, calibrate(data, "bias", test=True, names=FAST).test),
        (
            diagnose(data.select("test"), rule="bias").decision_gap,
            calibrate(data, "bias", split="test", names=FAST).rows,
        ),
    ):
        gain = next(r for r in told if r["rule"] == "bias")
        for one, other in ((gap.accuracy, gain["accuracy_gain"]), (gap.nats, gain["nll_gain"])):
            assert interval(one) == pytest.approx(interval(other), abs=1e-12)


def test_ties_count_alike_in_the_gap_and_in_calibrate():
    """Two raters whose votes often tie: the sum of logarithms breaks such ties by its last bit."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    votes = [rng.multinomial(3, np.eye(3)[y] * 0.4 + 0.2, size=2) for y in labels]
    logits = np.log(np.array(votes) + 0.5)
    data = Predictions.from_arrays({"labels": labels, "logits_a": logits[:, 0], "logits_b": 1.7 * logits[:, 1]})
    data = replace(data, fused=(data.logits["a"] + data.logits["b"]).astype(np.float32).astype(np.float64))
    gap = diagnose(data, rule="pool").decision_gap.accuracy.value
    gain = next(r for r in calibrate(data, "pool", split="test", names=FAST).rows if r["rule"] == "pool")
    assert gap == pytest.approx(gain["accuracy_gain"].value, abs=1e-12)
    assert gain["accuracy_gain"].value != 0


def test_the_gap_of_a_class_is_what_calibrate_gains_in_it():
    data = lopsided()
    found, told = diagnose(data, rule="bias"), calibrate(data, "bias", test=True, names=FAST)
    for row in told.test_classes:
        gap = found.classes[row["class"]].decision_gap
        assert interval(gap.accuracy) == pytest.approx(interval(row["gain"]), abs=1e-12)
        assert (gap.p, gap.flag) == (row["p_holm"], "loses" if row["gain"].value < 0 else "gains")
    fused = next(r for r in told.test if r["rule"] == "fused")
    assert interval(found.accuracy.fused) == pytest.approx(interval(fused["accuracy"]), abs=1e-12)


def test_a_gain_has_a_t_interval():
    """Twelve differences with mean 1/6 and variance 5/33, with a unit of -1 and one of +1 beside them."""
    values = np.array([1.0, 1.0] + 10 * [0.0])
    boot = Bootstrap.of(12)
    sums = (2 * (1 - 1 / 7) ** 2 + 10 / 49) + (1 + 1 / 7) ** 2 + (1 - 1 / 7) ** 2  # about 2 / 14
    half = t.ppf(0.975, 11) * math.sqrt(14 / 13 * sums) / 14
    gain = Gain.of(boot, values, bounds=(-1.0, 1.0))
    assert interval(gain) == pytest.approx((1 / 6, 1 / 7 - half, 1 / 7 + half))
    assert gain.least == pytest.approx(1 / 7 - half * t.ppf(0.95, 11) / t.ppf(0.975, 11))
    few = Gain.of(Bootstrap.of(9), values[:9])
    assert (few.low, few.high, few.least) == (None, None, None)
    assert not at_least_as_good({"rule": "pool", "accuracy_gain": few, "nll_gain": few})[0]


def lopsided(n=900) -> Predictions:
    """Class 0 is decided too often: raising the others gains much and costs class 0."""
    rng = np.random.default_rng(1)
    labels = np.arange(n) % 3
    scores = 1.5 * np.eye(3)[labels] + rng.normal(size=(n, 3))
    fused = scores + np.array([1.5, 0, 0])
    split = np.where(np.arange(n) % 2 > 0, "test", "calibration")
    return Predictions.from_arrays({"labels": labels, "logits_a": fused, "fused": fused, "split": split})


def test_classes_that_lose_are_named_and_tabled():
    data = lopsided()
    found = calibrate(data, "bias", test=True, names=FAST)
    assert "loses accuracy in 0 −" in found.losers()
    test = data.select("test")
    after = fit_rule(data.select("calibration"), "bias").apply(test).argmax(axis=1)
    for k, told in enumerate(found.test_classes):
        rows = test.labels == k
        before, now = test.fused[rows].argmax(axis=1) == k, after[rows] == k
        assert (told["class"], told["samples"]) == (str(k), rows.sum())
        assert (told["fused"], told["accuracy"]) == pytest.approx((before.mean(), now.mean()))
        assert told["gain"].value == pytest.approx(now.mean() - before.mean(), abs=1e-6)
        few, many = sorted([int((now & ~before).sum()), int((before & ~now).sum())])
        p = 2 * binom.cdf(few, few + many, 0.5) - binom.pmf(few, few + many, 0.5)
        assert p - 1e-12 <= told["p_holm"] <= 3 * p + 1e-12
    assert [row["class"] for row in found.to_json()["test_classes"]] == ["0", "1", "2"]
    gap = diagnose(data, rule="bias").classes["0"].decision_gap.accuracy
    assert gap.value == pytest.approx(found.test_classes[0]["gain"].value, abs=1e-12)


def test_no_class_is_named_where_nothing_is_lost():
    assert calibrate(lopsided(), "sum", names=FAST).losers() == ""


def test_protect_bounds_what_a_class_loses():
    data = lopsided()
    test = data.select("test")
    zero = test.labels == 0
    before = correct(test.fused, test.labels)
    lost, gained = {}, {}
    for bound in (None, 10.0, 5.0, 0.0):
        rule = fit_rule(data.select("calibration"), "adaptive", protect=bound)
        after = correct(rule.apply(test), test.labels)
        lost[bound] = 100 * (before - after)[zero].mean()
        gained[bound] = 100 * (after - before).mean()
        again = rule_from_json(json.loads(json.dumps(rule_to_json(rule))))
        np.testing.assert_array_equal(again.apply(test), rule.apply(test))
    assert lost[None] > 15
    assert lost[10.0] < 15  # 150 rows: a standard error is 3 pp
    assert lost[5.0] < 10
    assert lost[0.0] < 3
    assert gained[None] > gained[5.0] > 2
    assert "protect" in fit_rule(data.select("calibration"), "adaptive", protect=5.0).explain()


def test_protect_is_of_adaptive():
    with pytest.raises(ConfigError, match="'pool' has no hyper-parameter 'protect'"):
        calibrate(lopsided(), "pool", names=FAST, protect=5.0)


def test_the_protected_layer_is_the_most_accurate_under_the_bound():
    """Four rows of each of two classes. The rule wins class 1 (3 rows) and loses class 0 (2 of 4 rows)."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    fused = np.log([[0.9, 0.1]] * 7 + [[0.1, 0.9]])
    rule = np.log([[0.9, 0.1]] * 2 + [[0.4, 0.6]] * 2 + [[0.1, 0.9]] * 4)
    # no loss at all is allowed: class 0 is raised by the first step above log(0.6 / 0.4) = 0.405
    share, raised = within_bound(rule, fused, labels, 0.0, np.arange(8))
    scores = np.log(share * np.exp(rule) + (1 - share) * np.exp(fused)) + raised
    assert (scores.argmax(axis=1) == labels).all()
    np.testing.assert_allclose(
        additions(rule, correct(fused, labels), labels, 0.0, np.arange(8)), [0.45, 0], atol=1e-12
    )
    assert within_bound(rule, fused, labels, 1.0, np.arange(8))[0] > 0


def test_a_bound_is_judged_by_the_upper_end_of_the_loss():
    lost = np.array([1.0, 0.0, 0.0, 0.0, 0.0, -1.0])
    labels = np.array([0, 0, 0, 0, 1, 1])
    found = most_lost(lost, labels, 3, np.arange(6))
    # sums of squared residuals 0.75 and 0.5, each times units / (units - 1)
    expected = [0.25 + t.ppf(0.95, 3) * math.sqrt(4 / 3 * 0.75) / 4, -0.5 + t.ppf(0.95, 1) * math.sqrt(2 * 0.5) / 2, 0]
    np.testing.assert_allclose(found, expected)
    # the same rows twice are no more rows
    np.testing.assert_allclose(most_lost(np.tile(lost, 2), np.tile(labels, 2), 3, np.tile(np.arange(6), 2)), found)
    # two groups of class 0, whose residuals sum to 0.5 and -0.5
    grouped = most_lost(lost, labels, 3, np.array([0, 0, 1, 1, 2, 3]))
    assert grouped[0] == pytest.approx(0.25 + t.ppf(0.95, 1) * math.sqrt(2 * 0.5) / 4)
    assert most_lost(lost[:1], labels[:1], 3, np.zeros(1, int))[0] == 1


def test_signs_of_paired_differences():
    # 1 up, 4 down: 2 (C(5,0) + C(5,1)) / 32 less the point probability 5 / 32
    assert sign_p(1, 4) == pytest.approx((2 * 6 - 5) / 32)
    assert sign_p(1, 4, midp=False) == pytest.approx(2 * 6 / 32)
    assert sign_p(0, 0) == 1
    differences = np.array([0.5, -1, -1, -1, -0.5, 0])
    assert sign_test(differences) == pytest.approx((2 * 6 - 5) / 32)
    # groups: x sums to -0.5, y to -2, z to -0.5
    assert sign_test(differences, np.array(list("xxyyzz"))) == pytest.approx(2 * (1 / 8) - 1 / 8)
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
