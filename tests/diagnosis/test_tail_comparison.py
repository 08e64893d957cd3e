"""Which branch is heavier-tailed: comparison by hand, words, and damaged files."""

import json
import math

import pytest
from scipy.stats import norm

from mmbal.diagnosis.tails import Tail, Tails, compare_tails, read_tails, tails_in_words
from mmbal.errors import DataError


def tail(alpha: float, k: int) -> Tail:
    half = 1.959964 / math.sqrt(k)
    return Tail(alpha=alpha, low=alpha * math.exp(-half), high=alpha * math.exp(half), k=k, n=1000, threshold=2.0)


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
    (tmp_path / "tails.json").write_text("[]")
    with pytest.raises(DataError, match="no record of tail indices"):
        read_tails(tmp_path)
