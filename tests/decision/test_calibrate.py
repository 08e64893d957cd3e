"""Comparing, choosing and storing rules, as `mmbal calibrate` does."""

import json

import numpy as np
import pytest
from worlds import gaussian

from mmbal.cli.calibrate import calibrate as command
from mmbal.decision import calibrate, fit_rule, rule_from_json, rule_to_json
from mmbal.decision.calibration_split import unlike
from mmbal.decision.linear import too_large
from mmbal.diagnosis import diagnose
from mmbal.errors import ConfigError, UsageError
from mmbal.predictions.format import Predictions

FAST = ("sum", "best", "pool")


def hand_written(path, split=None):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=150)
    more = {} if split is None else {"split": np.where(np.arange(150) < 90, split, "test")}
    np.savez(path, labels=y, logits_a=2 * np.eye(3)[y] + rng.normal(size=(150, 3)), logits_b=np.zeros((150, 3)), **more)
    return path


def test_the_command_stores_a_rule_that_can_be_used(tmp_path, capsys):
    path = hand_written(tmp_path / "mine.npz", "calibration")
    command(path, rule="pool", test=True, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["stored"] == str(tmp_path / "mine.rule.json")
    assert (told["samples"], told["test_samples"], told["best_modality"]) == (90, 60, "a")
    rule = rule_from_json(json.loads((tmp_path / "mine.rule.json").read_text()))
    test = Predictions.load(path).select("test")
    expected = fit_rule(Predictions.load(path).select("calibration"), "pool").apply(test)
    np.testing.assert_array_equal(rule.apply(test), expected)
    row = next(r for r in told["test"] if r["rule"] == "pool")
    assert row["accuracy"]["value"] == pytest.approx(np.mean(expected.argmax(axis=1) == test.labels))
    with pytest.raises(UsageError, match="exists"):
        command(path, rule="pool")


def test_without_a_calibration_split_it_says_what_to_do(tmp_path):
    predictions = Predictions.load(hand_written(tmp_path / "mine.npz"))
    with pytest.raises(UsageError) as error:
        calibrate(predictions, "pool", names=FAST)
    assert "--split test" in error.value.hint
    assert calibrate(predictions, "pool", split="test", names=FAST).n == 150
    with pytest.raises(UsageError):
        calibrate(predictions, "pool", split="test", test=True, names=FAST)


def test_features_are_read_as_diagnose_reads_them(tmp_path, capsys):
    """A head is fitted on the train split; what is left decides what there is to calibrate on."""
    rng = np.random.default_rng(0)
    y, split = np.arange(160) % 4, np.repeat(["train", "val", "test"], [80, 40, 40])
    given = {m: np.eye(4)[y] + rng.normal(size=(160, 4)) for m in ("audio", "video")}
    path = tmp_path / "features.npz"
    np.savez(path, label=y, split=split, **given)
    command(path, rule="pool", test=True, json=True)
    told, notes = capsys.readouterr()
    told = json.loads(told)
    assert (told["samples"], told["test_samples"]) == (40, 40)
    assert "holds features without decisions" in notes
    gap = diagnose(path, rule="pool").decision_gap.accuracy
    gain = next(r for r in told["test"] if r["rule"] == "pool")["accuracy_gain"]
    assert (gap.value, gap.low, gap.high) == pytest.approx((gain["value"], gain["low"], gain["high"]), abs=1e-12)
    np.savez(path, label=y, split=np.where(split == "val", "train", split), **given)
    with pytest.raises(UsageError, match=r"no calibration split \(they have: test\)"):
        command(path, rule="pool", out=tmp_path / "rule.json")
    assert calibrate(path, "pool", split="test", names=FAST).n == 40


def test_the_sentence_names_fused_sum_best_and_fitted(tmp_path):
    predictions = Predictions.load(hand_written(tmp_path / "mine.npz", "val"))
    sentence = calibrate(predictions, "pool", names=FAST).sentence()
    for part in ("plain sum", "(a)", "(pool)", "90 samples of 'val'"):
        assert part in sentence


def test_stored_rules_are_checked():
    data = gaussian(n=30)
    stored = rule_to_json(fit_rule(data, "pool"))
    with pytest.raises(ConfigError, match="version"):
        rule_from_json({**stored, "version": 99})
    with pytest.raises(ConfigError, match="classes"):
        rule_from_json(stored, classes=("x", "y"))
    with pytest.raises(ConfigError, match="damaged"):
        rule_from_json({**stored, "state": None})
    with pytest.raises(ConfigError, match="not a stored"):
        rule_from_json({"weights": [1, 2]})
    with pytest.raises(ConfigError, match="no hyper-parameter"):
        fit_rule(data, "matrix", strenght=1.0)
    with pytest.raises(UsageError):
        fit_rule(data, "adaptve")


def test_a_rule_refuses_other_classes_and_lacking_modalities():
    data = gaussian(n=30)
    rule = fit_rule(data, "sum")
    with pytest.raises(ConfigError, match="m2"):
        rule.apply({m: data.logits[m] for m in ("m0", "m1")})
    with pytest.raises(ConfigError, match="classes"):
        rule.apply(gaussian(n=30, c=5))


def test_calibration_rows_that_were_trained_on_are_called_so():
    """Votes that are right by 6 nats on 40 rows, and on as many others right by 1 or wrong by 1 in turn."""
    labels = np.arange(80) % 2
    margin = np.where(np.arange(80) < 40, 6.0, np.where(np.arange(80) % 4 < 2, 1.0, -1.0))
    logits = np.stack([np.zeros(80), np.where(labels == 1, margin, -margin)], axis=1)
    data = {"labels": labels, "logits_a": logits, "split": np.where(np.arange(80) < 40, "calibration", "test")}
    found = calibrate(Predictions.from_arrays(data), "pool", test=True, names=FAST)
    # -log sigmoid(6) = 0.0025; the mean of -log sigmoid(1) = 0.3133 and -log sigmoid(-1) = 1.3133 is 0.8133
    assert "Mean NLL is 0.00 on 'calibration' but 0.81 on 'test'" in found.warning
    data["split"] = np.where(np.arange(80) % 8 < 4, "calibration", "test")
    assert calibrate(Predictions.from_arrays(data), "pool", test=True, names=FAST).warning == ""


@pytest.mark.parametrize(("samples", "wrong"), [(4, 2), (4000, 1700)])
def test_a_larger_loss_on_other_samples_must_be_much_larger_and_no_chance(samples, wrong):
    """Votes by a margin of 1: right on three of four rows to fit on (NLL 0.563), and wrong on more of the others.

    2 of 4 give 0.813, within 1.5 times; 1,700 of 4,000 give 0.738, far beyond chance and within 1.5 times too.
    """

    def votes(n, wrong):
        labels = np.arange(n) % 2
        margin = np.where(np.arange(n) < wrong, -1.0, 1.0)
        logits = np.stack([np.zeros(n), np.where(labels == 1, margin, -margin)], axis=1)
        return Predictions.from_arrays({"labels": labels, "logits_a": logits})

    fitted = votes(samples, samples // 4)
    assert unlike(fitted, votes(samples, wrong)) == ""
    assert (unlike(fitted, votes(samples, wrong), times=1.2) == "") == (samples == 4)
    assert (unlike(fitted, votes(samples, samples)) == "") == (samples == 4)  # 1.313, 2.3 times as much


@pytest.mark.parametrize(
    ("rule", "modalities", "classes", "expected"),
    [
        ("matrix", 2, 707, False),
        ("matrix", 2, 708, True),
        ("stacking", 2, 999, False),
        ("stacking", 2, 1000, True),
        ("pool", 8, 2000, False),
    ],
)
def test_a_rule_with_two_million_entries_is_large(rule, modalities, classes, expected):
    """A matrix for each modality's log-probabilities and one for its levels: 2 x 2 x 707^2 = 1,999,396 entries."""
    assert too_large(rule, modalities, classes) == expected


@pytest.mark.parametrize(
    ("fused", "says"), [(True, "fused"), (False, "the plain sum, since there is no fused decision")]
)
def test_the_document_says_what_rules_are_compared_with(fused, says):
    data = gaussian(n=60)
    given = {"labels": data.labels, **{f"logits_{m}": x for m, x in data.logits.items()}}
    if fused:
        given["fused"] = data.logits["m0"]
    p = Predictions.from_arrays(given)
    assert calibrate(p, "pool", split=p.split[0], names=FAST).to_json()["reference"] == says


def test_adaptive_says_what_it_chose():
    data = gaussian(n=80)
    rule = fit_rule(data, "adaptive")
    assert sum(row["weight"] for row in rule.summary()) == pytest.approx(1)
    assert "the plain sum has" in rule.explain()


def test_matrices_of_very_many_classes_are_left_out_and_told(monkeypatch):
    y, rng = np.arange(120) % 6, np.random.default_rng(0)
    p = Predictions.from_arrays(
        {"labels": y, **{f"logits_{m}": np.eye(6)[y] + rng.normal(size=(120, 6)) for m in "ab"}}
    )
    monkeypatch.setattr("mmbal.decision.linear.MOST_ENTRIES", 100)  # a matrix has 2 x 2 x 6 x 6 entries, stacking 72
    found = calibrate(p, split=p.split[0], names=("pool", "matrix", "stacking"))
    assert {row["rule"] for row in found.rows} == {"fused", "sum", "best", "pool", "stacking", "adaptive"}
    assert "Too large for 6 classes, unless named by --rule: matrix." in found.warning
    assert "matrix" not in {member["rule"] for member in found.rule.evidence}
    assert "matrix" in {row["rule"] for row in calibrate(p, "matrix", split=p.split[0], names=()).rows}
