"""Which branch is heavier-tailed: comparison by hand, words, and damaged files."""

import json
import math

import pytest
from scipy.stats import norm
from terminal import as_json, ok

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.sections.tails import Tails, compare_tails, read_tails, tails_in_words
from mmbal.engine.config import OptimiserConfig, TrainConfig
from mmbal.engine.train import train
from mmbal.errors import DataError
from mmbal.maths.tails import TailIndex


def tail(alpha: float, k: int) -> TailIndex:
    half = 1.959964 / math.sqrt(k)
    return TailIndex(value=alpha, low=alpha * math.exp(-half), high=alpha * math.exp(half), k=k, n=1000, threshold=2.0)


def test_the_comparison_is_a_normal_test_of_the_logarithm_with_holms_correction():
    found = compare_tails({"a": tail(2.0, 100), "b": tail(3.0, 100), "c": tail(3.2, 100)})
    assert [(pair.heavier, pair.lighter) for pair in found] == [("a", "c"), ("a", "b"), ("b", "c")]
    z = math.log(1.6) / math.sqrt(2 / 100)
    assert found[0].p == pytest.approx(3 * 2 * norm.sf(z), rel=1e-4)
    assert found[0].ratio == pytest.approx(2 / 3.2)


def test_in_words():
    def say(a, b):
        return tails_in_words(Tails(gradient_noise={"audio": a, "video": b}, update_norm={}, weight_norm={}))

    assert say(tail(2, 100), tail(4, 100)).startswith(
        "The gradient noise of audio has a heavier tail than that of video"
    )
    assert say(tail(2, 100), tail(2.1, 100)).startswith("No modality's")
    assert "None is heavy" in say(tail(20, 100), tail(40, 100))
    nothing = Tails(gradient_noise={"audio": tail(2, 100)}, update_norm={}, weight_norm={})
    assert "Too little" in tails_in_words(nothing)
    assert compare_tails(nothing.gradient_noise) == []


def test_reading_what_a_run_left(tmp_path):
    assert read_tails(tmp_path) is None
    one = tail(2, 100).model_dump()
    document = {
        "format": 1,
        "gradient_noise": {"a": one, "b": {"not_computed": "Too few."}},
        "update_norm": {},
        "weight_norm": {},
    }
    (tmp_path / "tails.json").write_text(json.dumps(document))
    found = read_tails(tmp_path)
    assert found is not None
    assert list(found.gradient_noise) == ["a"]
    old = {"alpha": 2.0, "low": 1.6, "high": 2.5, "k": 100, "n": 1000, "threshold": 2.0}  # as version 0.1.0 wrote it
    (tmp_path / "tails.json").write_text(json.dumps({**document, "gradient_noise": {"a": old}}))
    assert read_tails(tmp_path).gradient_noise["a"].value == 2.0
    (tmp_path / "tails.json").write_text("[]")
    with pytest.raises(DataError, match="no record of tail indices"):
        read_tails(tmp_path)


def test_the_diagnosis_of_a_run_says_it(noisy, tmp_path):
    rows = noisy(60, 2, {"audio": 1.0, "video": 1.0})
    plain = diagnose(rows, rule="pool", bootstrap=100)
    assert plain.tails is None
    assert diagnose(rows, rule="pool", bootstrap=100, run=tmp_path) == plain
    noise = {"video": tail(4, 100).model_dump(), "audio": tail(2, 100).model_dump()}
    document = {"gradient_noise": noise, "update_norm": {}, "weight_norm": {"audio": {"not_computed": "Too few."}}}
    (tmp_path / "tails.json").write_text(json.dumps(document))
    (tmp_path / "config.yaml").write_text("batch_size: 8\noptimiser: {lr: 0.5}\n")
    found = diagnose(rows, rule="pool", bootstrap=100, run=tmp_path)
    assert found.verdict[:-1] == plain.verdict
    assert found.verdict[-1].startswith("The gradient noise of audio has a heavier tail than that of video")
    assert found.tails is not None
    assert (found.tails.learning_rate, found.tails.batch_size) == (0.5, 8)
    assert found.tails.gradient_noise["video"].value == 4
    assert found.tails.gradient_noise["video"].low == pytest.approx(4 * math.exp(-0.1959964))
    assert found.tails.weight_norm == {}


def test_learning_rates_stand_side_by_side_at_the_terminal(toy, tmp_path):
    for lr in (0.05, 0.4):
        config = TrainConfig(
            data=str(toy({"audio": 6, "video": 4}).path),
            epochs=3,
            batch_size=4,
            optimiser=OptimiserConfig(lr=lr, momentum=0),
            record=("heavy_tails",),
            device="cpu",
        )
        train(config, out=tmp_path / f"lr{lr}")

    slow, fast = tmp_path / "lr0.05", tmp_path / "lr0.4"
    alone = ok("diagnose", slow, "--rule", "pool", "--bootstrap", "100")
    assert "tail index" in alone
    assert "Learning rate 0.05, batches of 4" in " ".join(alone.split())
    both = ok("diagnose", slow, fast, "--rule", "pool", "--bootstrap", "100")
    assert "lr0.4" in both
    assert "tail index, audio" in both
    document = as_json("report", slow, fast, "--bootstrap", "100")
    tails = [row["entries"][0]["tails"] for row in document["rows"]]
    assert [set(found) for found in tails] == [{"audio", "video"}] * 2
    assert "tail index of the gradient noise" in ok("report", slow, fast, "--bootstrap", "100")
    ok("report", slow, "--out", tmp_path / "page.html", "--bootstrap", "100")
    assert "Tail index of the norms in training" in (tmp_path / "page.html").read_text()
