"""Figures that `calibrate` and `diagnose` give for the same samples are the same, with the same intervals."""

import numpy as np
import pytest

from mmbal.cli.calibrate import show
from mmbal.decision import calibrate
from mmbal.diagnosis import diagnose
from mmbal.predictions.format import Predictions

FAST = ("sum", "best", "pool")


@pytest.mark.parametrize("grouped", [False, True])
def test_calibration_error_and_log_score(grouped):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=240)
    logits = {f"logits_{m}": 4 * (np.eye(3)[y] + rng.normal(size=(240, 3))) for m in "ab"}
    more = {"group": np.arange(240) // 8} if grouped else {}
    split = np.where(np.arange(240) < 96, "calibration", "test")
    predictions = Predictions.from_arrays({"labels": y, "split": split, **logits, **more})
    calibrated = calibrate(predictions, "pool", test=True, names=FAST).to_json()
    diagnosed = diagnose(predictions, rule="pool").model_dump(mode="json")["calibration"]["fused"]
    plain = next(row for row in calibrated["test"] if row["rule"] == "sum")
    for figure in ("ece", "nll"):
        assert plain[figure] == pytest.approx(diagnosed[figure], abs=1e-9)
        assert plain[figure]["low"] < plain[figure]["value"] < plain[figure]["high"]


def test_fewer_than_ten_test_samples_have_figures_and_no_intervals(capsys):
    rng = np.random.default_rng(0)
    y = np.arange(38) % 2
    logits = {f"logits_{m}": np.eye(2)[y] + rng.normal(size=(38, 2)) for m in "ab"}
    split = np.where(np.arange(38) < 30, "calibration", "test")
    found = calibrate(Predictions.from_arrays({"labels": y, "split": split, **logits}), "pool", test=True, names=FAST)
    assert found.to_json()["test"][0]["accuracy"].keys() == {"value", "low", "high"}
    assert found.to_json()["test"][0]["accuracy"]["low"] is None
    assert "no clear difference" in found.sentence()
    show(found)
    assert "None" not in capsys.readouterr().out
