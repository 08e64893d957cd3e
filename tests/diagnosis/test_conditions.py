"""The language of --fail-if."""

import pytest

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.conditions import Condition, figures_of
from mmbal.diagnosis.schema import NotComputed
from mmbal.errors import UsageError


@pytest.fixture(scope="module")
def diagnosis():
    from mmbal.predictions.synthetic import GaussianWorld

    world = GaussianWorld(
        ["calm", "very angry"], ["audio", "video.rgb"], [[2.0, 2.0], [1.0, 1.0]], dominance=[1.0, 4.0]
    )
    return diagnose(world.sample(400, seed=0), bootstrap=100, rule="pool")


@pytest.mark.parametrize(
    ("text", "path", "sign", "bound"),
    [
        ("index > 0.2", "index", ">", 0.2),
        ("contribution.video<0.3", "contribution.video", "<", 0.3),
        ("decision_gap.accuracy.low >= -1e-2", "decision_gap.accuracy.low", ">=", -0.01),
        ("classes.very angry.fused != 1", "classes.very angry.fused", "!=", 1.0),
    ],
)
def test_conditions_are_parsed(text, path, sign, bound):
    assert Condition.parse(text) == Condition(path, sign, bound)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "index",
        "index >",
        "index > high",
        "> 0.2",
        "index => 1",
        "index > nan",
        "index < inf",
        "__import__('os') > x",
    ],
)
def test_other_forms_are_refused(text):
    with pytest.raises(UsageError, match="FIGURE OPERATOR NUMBER"):
        Condition.parse(text)


def test_an_estimate_stands_for_its_value_and_shows_its_interval(diagnosis):
    outcome = Condition.parse("index > 0.1").judge(diagnosis)
    assert outcome.holds
    assert outcome.value == diagnosis.index.value
    assert f"[{diagnosis.index.low:.3g}, {diagnosis.index.high:.3g}]" in str(outcome)
    assert not Condition.parse("index.low > 0.9").judge(diagnosis).holds


def test_names_with_dots_and_spaces_are_paths_too(diagnosis):
    assert Condition.parse("contribution.video.rgb > 0").judge(diagnosis).holds
    assert Condition.parse("classes.very angry.samples > 10").judge(diagnosis).holds


def test_an_unknown_figure_offers_the_nearest(diagnosis):
    with pytest.raises(UsageError, match="no figure 'indx'") as caught:
        Condition.parse("indx > 0.2").judge(diagnosis)
    assert "index" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("contribution.vido", "Did you mean contribution.video or contribution.audio?"),
        ("contribution", "Did you mean contribution.video or contribution.audio?"),
        ("classes.very angry.fuzed", "Did you mean classes.very angry.fused or "),
        ("qqq", "Known: accuracy, balance, calibration, "),
    ],
)
def test_the_hint_names_what_there_is_at_that_place_and_no_more(diagnosis, path, hint):
    with pytest.raises(UsageError) as caught:
        Condition(path, ">", 0.2).judge(diagnosis)
    assert caught.value.hint.startswith(hint)
    assert len(caught.value.hint) < 500


def test_what_was_not_computed_can_not_pass(diagnosis):
    with pytest.raises(UsageError, match=r"not computed.*no reference"):
        Condition.parse("representation_gap > 0").judge(diagnosis)


def test_the_reason_is_that_of_the_figure_itself(diagnosis):
    reasons = [("accuracy.reference", "no reference"), ("accuracy.probe.audio", "no features"), ("accuracy", "nothing")]
    told = [NotComputed(what=what, reason=reason) for what, reason in reasons]
    empty = diagnosis.accuracy.model_copy(update={"probe": {}, "reference": {}})
    changed = diagnosis.model_copy(update={"not_computed": told, "accuracy": empty})
    with pytest.raises(UsageError, match=r"not computed \(no features\)"):
        Condition("accuracy.probe.audio", ">", 0).judge(changed)


@pytest.mark.parametrize(
    "path",
    ["representation_gap.accuracy", "representation_gap.modalities.audio.nats.low", "human.clips"],
)
def test_what_lies_below_a_figure_that_was_not_computed_was_not_either(diagnosis, path):
    with pytest.raises(UsageError, match=f"'{path}' was not computed"):
        Condition(path, ">", 0).judge(diagnosis)


def test_figures_hold_every_number_and_no_text(diagnosis):
    figures = figures_of(diagnosis)
    assert figures["data.samples"][0] == diagnosis.data.samples
    assert "data.split" not in figures


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("preference.flips.audio", "preference.changes_without.audio"),
        ("missing.video.rgb.absent", "missing.video.rgb.removed"),
        ("norms.audio.votes.raw", "norms.audio.contribution.raw"),
        ("classes.calm.norms.audio.votes", "classes.calm.norms.audio.contribution"),
        ("data.absent.audio", "data.missing.audio"),
    ],
)
def test_a_figure_goes_by_its_name_of_version_0_1_0_too(diagnosis, old, new):
    assert Condition(old, ">", -1).judge(diagnosis).value == figures_of(diagnosis)[new][0]


def test_the_total_was_called_the_shortfall(diagnosis):
    with pytest.raises(UsageError, match=r"'shortfall.nats' was not computed"):
        Condition("shortfall.nats", ">", 0).judge(diagnosis)


@pytest.mark.parametrize(
    ("word", "path"),
    [("ECE.audio", "calibration.audio.ece"), ("changes without.audio", "preference.changes_without.audio")],
)
def test_a_word_of_the_tables_is_the_name_of_its_figure(diagnosis, word, path):
    outcome = Condition.parse(f"{word} > 0.5").judge(diagnosis)
    assert (outcome.value, outcome.low, outcome.high) == figures_of(diagnosis)[path]


def test_a_word_of_several_figures_leads_to_them(diagnosis):
    with pytest.raises(UsageError) as caught:
        Condition.parse("temperature > 1").judge(diagnosis)
    assert caught.value.hint.startswith(
        "Did you mean calibration.audio.temperature or calibration.fused.temperature or "
    )
