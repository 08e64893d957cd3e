"""A verdict that depends on what stands in for an absent modality is not given as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmbal.diagnosis import diagnose
from mmbal.predictions.format import Predictions


def stated(baseline: str, loud: str = "a", n: int = 300) -> Predictions:
    """Two parts that are equally informative, one of them six times as loud; ``loud`` is credited with that one."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=n)
    first, second = (2 * np.eye(3)[labels] + 1.5 * rng.normal(size=(n, 3)) for _ in range(2))
    quiet = "b" if loud == "a" else "a"
    arrays = {f"subset_{loud}": 3 * first, f"subset_{quiet}": 0.5 * second, "subset_": np.zeros((n, 3))}
    arrays |= {"fused": 3 * first + 0.5 * second, "labels": labels, "modalities": np.array(["a", "b"])}
    return Predictions.from_arrays(arrays, {"baseline": baseline})


FEW = {"bootstrap": 100, "rule": "temperature"}


def test_a_claim_that_all_baselines_share_is_made():
    own = stated("zero")
    d = diagnose(replace(own, baselines={"mean": stated("mean")}), **FEW)
    alone = diagnose(own, **FEW)
    told = "An absent modality is replaced by zeros"
    assert [s for s in d.verdict if told not in s] == [s for s in alone.verdict if told not in s]
    assert "An absent modality is replaced by zeros; the verdict is the same with 'mean'." in d.verdict
    assert "An absent modality is replaced by zeros." in alone.verdict
    assert d.disagreement == pytest.approx({"a": 0, "b": 0})


def test_a_claim_that_depends_on_the_baseline_is_not_made():
    own, other = stated("zero"), stated("shuffled", loud="b")
    alone, theirs = diagnose(own, **FEW), diagnose(other, **FEW)
    assert alone.balance["a"].flag == "too much"
    assert theirs.balance["a"].flag == "too little"
    d = diagnose(replace(own, baselines={"shuffled": other}), **FEW)
    assert d.contribution == alone.contribution
    assert d.baselines["shuffled"].contribution["a"].value == pytest.approx(theirs.contribution["a"].value)
    gap = abs(alone.contribution["a"].value - theirs.contribution["a"].value)
    assert d.disagreement["a"] == pytest.approx(gap)
    text = " ".join(d.verdict)
    assert "carries" not in text
    assert "Which modality the model follows depends on" in text
    assert (
        "Whether a modality contributes too little depends on what stands in for an absent modality "
        "('zero': b contributes too little; 'shuffled': a contributes too little)." in text
    )
    assert "An absent modality is replaced by zeros. " in text
