"""Figures by segment: ranges, the difference to the others by hand, and the worst segment of a world that has one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.conditions import Condition
from mmbal.diagnosis.sections.segments import against_others, segments_of
from mmbal.errors import DataError
from mmbal.predictions.format import Predictions
from mmbal.predictions.humans import human_votes
from mmbal.predictions.synthetic import GaussianWorld

WORLD = GaussianWorld("abc", ["audio", "video"], [[2.0, 1.6, 1.2], [1.0, 1.4, 1.8]])


def with_segments(p: Predictions, **values: object) -> Predictions:
    return replace(p, segments={name: np.asarray(value) for name, value in values.items()})


def test_many_numbers_become_ranges_and_few_values_stay():
    ages = np.array([str(age) for age in range(20, 40)])
    assert np.unique(segments_of(ages)).tolist() == ["20 to 24", "25 to 29", "30 to 34", "35 to 39"]
    most = np.array(["7"] * 50 + ages.tolist())
    assert "7" in segments_of(most)
    assert segments_of(np.array(["1", "2", "1"])).tolist() == ["1", "2", "1"]
    names = np.array([f"site {k}" for k in range(20)])
    assert segments_of(names).tolist() == names.tolist()


def test_the_difference_to_the_others_by_hand():
    values, inside = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.array([True, True, False, False, False])
    found = against_others(values, inside)
    assert found.mean() == pytest.approx(1 / 2 - 2 / 3)
    # its squared standard error is the sum of those of the two means, with the variances over n
    assert found.var() / 5 == pytest.approx((1 / 4) / 2 + (2 / 9) / 3)


def test_a_segment_is_diagnosed_on_its_own_samples():
    p = WORLD.sample(1200, seed=0, calibration=0.0)
    site = np.where(np.arange(1200) < 300, "north", "south")
    found = diagnose(with_segments(p, site=site), bootstrap=100, rule="temperature").segments["site"]["north"]
    alone = diagnose(p.take(np.arange(300)), bootstrap=100, rule="temperature")
    assert found.samples == 300
    assert found.accuracy.value == alone.accuracy.fused.value
    for m in p.modalities:
        assert found.contribution[m].value == pytest.approx(alone.contribution[m].value)
        assert found.capability[m].value == pytest.approx(alone.capability[m].value)
    assert found.index.value == pytest.approx(alone.index.value)


def test_the_worst_segment_is_in_the_verdict():
    p = WORLD.sample(2400, seed=0)
    site = np.array(["north", "south", "west"])[np.arange(2400) % 3]
    broken = site == "south"  # the video of the south is of other samples and six times too loud
    rng = np.random.default_rng(0)
    video = p.contribution["video"].copy()
    video[broken] = 6 * video[rng.permutation(np.flatnonzero(broken))]
    parts = {**p.contribution, "video": video}
    p = with_segments(replace(p, contribution=parts, logits=parts, fused=sum(parts.values())), site=site)
    found = diagnose(p, bootstrap=100, rule="pool")
    text = " ".join(found.verdict)
    assert "The worst segment is site south: the model is right in " in text
    assert found.segments["site"]["south"].flags[:2] == ["less accurate", "imbalanced"]
    assert "less accurate" not in found.segments["site"]["north"].flags
    assert Condition.parse("segments.site.south.index > 0.2").judge(found).holds


def test_a_segment_of_few_groups_has_no_test_of_its_balance():
    p = replace(WORLD.sample(600, seed=0, calibration=0.0), group=np.repeat([f"g{k}" for k in range(12)], 50))
    p = with_segments(p, site=np.repeat(["few", "many"], [200, 400]))
    found = diagnose(p, bootstrap=100, rule="temperature").segments["site"]
    assert found["few"].index.low is None
    assert "balance" not in found["few"].p
    assert "balance" in found["many"].p


def test_segments_that_differ_in_nothing_are_told_so():
    p = WORLD.sample(2000, seed=3, calibration=0.0)
    coin = np.random.default_rng(5).choice(["heads", "tails"], 2000)
    found = diagnose(with_segments(p, coin=coin, same=np.full(2000, "x")), bootstrap=100, rule="temperature")
    assert "No segment is shown to be less accurate than the others." in found.verdict
    assert any(n.what == "segments.same.x" for n in found.not_computed)


def test_segments_are_read_and_written(tmp_path):
    given = {"labels": [0, 1, 1], "logits_a": np.eye(2)[[0, 1, 1]], "group_age": [20, 30, 40]}
    Predictions.from_arrays(given).save(tmp_path / "p.npz")
    assert Predictions.load(tmp_path / "p.npz").take([2]).segments["age"].tolist() == ["40"]
    with pytest.raises(DataError, match="'group_age' has shape"):
        Predictions.from_arrays({**given, "group_age": [1, 2]})


def test_the_raters_clips_have_the_sex_and_age_of_their_actors():
    p = human_votes()
    first = p.segments["sex"][p.group == "1001"], p.segments["age"][p.group == "1001"]
    assert set(first[0]) == {"Male"}
    assert set(first[1]) == {"51"}
