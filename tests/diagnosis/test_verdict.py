"""The verdict claims what the tests show, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.decomposition import decision_gap
from mmbal.diagnosis.examine import Examination
from mmbal.diagnosis.schema import Gap
from mmbal.diagnosis.sections.decision_gap import ClassGap, class_gaps
from mmbal.diagnosis.verdict import advice_of, verdict_of
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

STRENGTH = [[2.0, 1.6, 1.2], [1.0, 1.4, 1.8]]


def world(**kind):
    return GaussianWorld("abc", ["audio", "video"], STRENGTH, **kind)


@pytest.fixture(scope="module")
def loud():
    """Video is six times too loud."""
    return diagnose(world(dominance=[1.0, 6.0]).sample(1600, seed=0), bootstrap=200, rule="pool", source="runs/x")


def changed(diagnosis, **sections):
    return diagnosis.model_copy(update=sections)


def told(diagnosis, **sections):
    return " ".join(verdict_of(changed(diagnosis, **sections)))


def commands(diagnosis, source="x.npz"):
    return [advice.command for advice in advice_of(diagnosis, source)]


def with_meta(diagnosis, **meta):
    return changed(diagnosis, data=diagnosis.data.model_copy(update={"meta": meta}))


def test_a_loud_modality_is_named_with_its_capability_and_its_price(loud):
    text = " ".join(loud.verdict)
    assert text.startswith("Video decides: where the modalities disagree, the model follows video in ")
    assert "Audio carries" in text
    assert "% of the evidence (capability) but makes up only" in text
    assert "The model loses" in text
    assert "pp [" in text
    assert loud.advice[0].command == "mmbal calibrate runs/x"


def test_a_balanced_model_is_told_so():
    found = diagnose(world().sample(1600, seed=0), bootstrap=200, rule="pool")
    text = " ".join(found.verdict)
    assert "No imbalance is shown at the decision layer" in text
    assert "No loss is shown at the decision layer" in text
    assert not any("calibrate" in advice.command for advice in found.advice)


# -- whom the model follows


def followed(loud, lead, audio=0.5, video=0.45, none=0.05):
    low, high = lead
    return loud.preference.model_copy(
        update={
            "follows": {
                "audio": Estimate(value=audio, low=0.1, high=0.9),
                "video": Estimate(value=video, low=0, high=1),
            },
            "lead": {"audio+video": Estimate(value=audio - video, low=low, high=high)},
            "none": Estimate(value=none, low=none, high=none),
        }
    )


@pytest.mark.parametrize(
    ("lead", "audio", "video", "begins"),
    [
        ((0.21, 0.5), 0.66, 0.31, "Audio decides: "),
        ((0.19, 0.5), 0.66, 0.31, "The model leans towards audio: "),  # a lead of 20 pp is not shown
        (
            (0.21, 0.5),
            0.49,
            0.14,
            "The model leans towards audio: ",
        ),  # it follows audio in less than half of the samples
        ((0.01, 0.21), 0.55, 0.45, "The model leans towards audio: "),
        ((0.001, 0.02), 0.51, 0.5, "No modality decides alone: "),  # shown, but of no size
        ((-0.1, 0.19), 0.52, 0.48, "No modality decides alone: "),  # a lead of 20 pp is excluded
        ((-0.1, 0.3), 0.55, 0.45, "No modality is shown to decide: "),  # nothing is excluded
    ],
)
def test_the_words_follow_the_interval_of_the_lead(loud, lead, audio, video, begins):
    text = told(loud, preference=followed(loud, lead, audio, video))
    assert text.startswith(begins + "where the modalities disagree, the model follows audio in ")
    mirrored = followed(loud, (-lead[1], -lead[0]), video, audio)
    named = begins.replace("Audio", "Video").replace("audio", "video")
    assert told(loud, preference=mirrored).startswith(
        named + "where the modalities disagree, the model follows video in "
    )


def test_of_three_the_first_must_lead_both(loud):
    """The second is the pair that decides: audio is clearly ahead of text, and not shown to be ahead of video."""
    preference = followed(loud, (-0.1, 0.3))
    preference.follows["text"] = Estimate(value=0.1, low=0, high=0.2)
    preference.lead["audio+text"] = Estimate(value=0.4, low=0.3, high=0.5)
    assert told(loud, preference=preference).startswith("No modality is shown to decide: ")


def test_a_model_that_follows_none_of_its_modalities_is_told_so(loud):
    """A FiLM model that decides as audio does in 31 % of the disagreements is not decided by audio."""
    text = told(loud, preference=followed(loud, (0.2, 0.34), audio=0.31, video=0.04, none=0.65))
    assert text.startswith("The model mostly decides differently from each of its modalities alone")
    assert "it does so in 65 % of the samples (it follows audio in 31 % and video in 4 %)" in text


def test_the_share_that_follows_none_and_the_lead_by_hand():
    """Ten disagreements of which four follow a, three b and three neither; on ten more samples a and b agree."""
    a, b = np.repeat([0, 0], [10, 10]), np.repeat([1, 0], [10, 10])
    fused = np.array([0] * 4 + [1] * 3 + [2] * 3 + [0] * 10)
    p = Predictions.from_arrays(
        {"labels": fused, "logits_a": np.eye(3)[a], "logits_b": np.eye(3)[b], "fused": np.eye(3)[fused]}
    )
    found = diagnose(p, bootstrap=100, rule="pool").preference
    assert found.none.value == pytest.approx(0.3)
    assert found.lead["a+b"].value == pytest.approx(0.1)


# -- at chance


def guesses(n, classes, right=0.0, seed=0):
    """Two modalities and a decision that is right for a share ``right`` of the samples beyond guessing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    decided = np.where(rng.random(n) < right, labels, rng.integers(classes, size=n))
    parts = {f"contribution_{m}": rng.normal(size=(n, classes)) for m in "ab"}
    parts["contribution_b"] += 9 * np.eye(classes)[decided]
    return Predictions.from_arrays(
        {
            "labels": labels,
            **parts,
            **{f"logits_{m}": parts[f"contribution_{m}"] for m in "ab"},
            "fused": sum(parts.values()),
        }
    )


def test_samples_of_one_class_show_nothing():
    labels, votes = np.zeros(40, int), np.random.default_rng(0).normal(size=(2, 40, 3))
    data = {"labels": labels, "classes": list("xyz"), "logits_a": votes[0], "logits_b": votes[1]}
    text = " ".join(diagnose(Predictions.from_arrays(data), bootstrap=50, rule="pool").verdict)
    assert "All samples are of one class, so nothing shows whether the model is better than chance." in text
    assert "columns" not in text


def test_a_model_at_chance_is_told_so_first_and_nothing_is_a_fault():
    found = diagnose(guesses(400, 4), bootstrap=100, rule="pool")
    assert found.accuracy.above_chance.sign == 0
    assert found.verdict[0].startswith("The model is at chance: it is right in ")
    assert found.verdict[1] == "There is nothing to diagnose yet."
    text = " ".join(found.verdict)
    assert not any(word in text for word in ("contribut", "decides", "imbalance", "leans", "confidences"))
    assert found.advice == []
    assert all(b.flag is None for b in found.balance.values())
    assert all(b.flag is None for one in found.classes.values() for b in one.balance.values())
    # the same figures of a model that is better than chance would be a fault: b drowns a, and a carries nothing less
    loud = diagnose(guesses(400, 4, right=0.4), bootstrap=100, rule="pool")
    assert loud.accuracy.above_chance.sign == 1
    assert loud.verdict[0].startswith("B decides")


def test_chance_is_what_the_same_decisions_get_when_they_are_shuffled():
    """Labels 6 of 0 and 4 of 1; decisions 5 and 5: shuffled, .6 * .5 + .4 * .5 = .5 are right; as they are, 7 of 10."""
    labels, decided = np.repeat([0, 1], [6, 4]), np.array([0, 0, 0, 0, 1, 1, 0, 1, 1, 1])
    p = Predictions.from_arrays({"labels": labels, "logits_a": np.eye(2)[decided]})
    above = diagnose(p, bootstrap=100, rule="pool").accuracy.above_chance
    assert above.value == pytest.approx(0.7 - 0.5)
    # right - q[label] - p[decision] + chance: .4 for 0 as 0 (4 times), -.4 as 1 (2), .6 for 1 as 1 (3), -.6 as 0 (1)
    terms = np.array([0.4] * 4 + [-0.4] * 2 + [0.6] * 3 + [-0.6])
    half = 2.2622 * terms.std(ddof=1) / np.sqrt(10)  # t of 9 degrees of freedom
    assert above.low == pytest.approx(0.2 - half, abs=1e-4)


def test_a_rare_class_that_is_found_is_above_chance_though_the_majority_is_right_more_often():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [360, 40])
    decided = np.where(rng.random(400) < 0.75, labels, 1 - labels)
    p = Predictions.from_arrays({"labels": labels, "classes": ["no", "yes"], "logits_a": np.eye(2)[decided]})
    found = diagnose(p, bootstrap=100, rule="pool")
    assert found.accuracy.above_chance.sign == 1
    assert found.accuracy.above_majority.sign == -1
    assert "always choosing 'no' would be right in 90 %" in " ".join(found.verdict)


def test_a_broken_fusion_of_good_modalities_is_not_nothing_to_diagnose(noisy):
    """The fused decision is shifted by one class: at chance or worse, while both modalities are good."""
    p = noisy(300, 4, {"a": 3.0, "b": 2.0})
    broken = replace(p, fused=np.roll(sum(p.logits.values()), 1, axis=1), meta={**p.meta, "labels": "checked"})
    found = diagnose(broken, bootstrap=100, rule="pool")
    assert found.verdict[0].startswith("The model is worse than chance")
    text = " ".join(found.verdict)
    assert "The fused decision is worse than a alone by" in text
    assert "nothing to diagnose" not in text
    assert "columns of the logits in the order of the classes?" in text


@pytest.mark.parametrize(
    ("n", "first"), [(1, "There is only 1 sample: too few"), (9, "There are only 9 samples: too few")]
)
def test_of_a_handful_nothing_is_said(noisy, n, first):
    found = diagnose(noisy(n, 2, {"a": 3.0, "b": 1.0}), bootstrap=100, rule="pool")
    assert len(found.verdict) == 1
    assert found.verdict[0].startswith(first)
    assert found.advice == []


def test_few_samples_are_told_how_many_it_would_take():
    """12 of 20 right, two classes evenly decided and labelled: each term is +-1/2 and their sum 2."""
    labels = np.repeat([0, 1], 10)
    decided = np.array([0] * 6 + [1] * 4 + [1] * 6 + [0] * 4)
    found = diagnose(
        Predictions.from_arrays({"labels": labels, "logits_a": np.eye(2)[decided]}), bootstrap=100, rule="pool"
    )
    terms = np.append(np.repeat([0.5, -0.5], [12, 8]), [-1, 1])  # with one unit more at each bound
    needed = 20 * (1.95996 * terms.std(ddof=1) / np.sqrt(22) / 0.1) ** 2
    assert found.accuracy.samples_needed == np.ceil(needed)
    # an accuracy 10 pp above chance is found with 80 % power: 2.04 times the samples whose interval just reaches it
    half = 2.0930 * np.repeat([0.5, -0.5], [12, 8]).std(ddof=1) / np.sqrt(20)
    assert 2.04 * 20 * (half / 0.1) ** 2 == pytest.approx(225.8, abs=0.1)
    text = " ".join(found.verdict)
    assert "The model is not shown to be better than chance: it is right in 60.0 % of the samples" in text
    assert "About 230 samples would show an accuracy that is 10 pp above chance." in text


# -- what is lost


def test_an_interval_that_covers_zero_takes_the_claim_away(loud):
    gap = loud.decision_gap.model_copy(
        update={"accuracy": Estimate(value=0.05, low=-0.01, high=0.1), "nats": Estimate(value=0.1, low=-0.1, high=0.3)}
    )
    text = told(loud, decision_gap=gap)
    assert "loses" not in text
    assert "No loss is shown at the decision layer (5.0 pp [−1.0, 10.0])" in text
    assert not any("calibrate" in a for a in commands(changed(loud, decision_gap=gap)))


def test_lost_likelihood_without_lost_accuracy_is_said_apart(loud):
    gap = loud.decision_gap.model_copy(
        update={"accuracy": Estimate(value=0.0, low=-0.01, high=0.01), "nats": Estimate(value=0.1, low=0.05, high=0.2)}
    )
    text = told(loud, decision_gap=gap)
    assert "No accuracy is shown to be lost" in text
    assert "its confidences are wrong: the fitted rule gains 0.10 nats [0.05, 0.20]" in text
    slight = gap.model_copy(update={"nats": Estimate(value=0.04, low=0.02, high=0.06)})
    assert "its confidences are slightly wrong" in told(loud, decision_gap=slight)


def test_an_interval_that_prints_as_zero_carries_no_sentence(loud):
    zero = Estimate(value=0.0, low=0.0, high=0.0)
    tiny = Gap(accuracy=zero, nats=Estimate(value=0.0004, low=0.0001, high=0.0006))
    text = told(loud, decision_gap=tiny)
    assert "nats" not in text
    assert "No loss is shown at the decision layer (0.0 pp [0.0, 0.0])" in text
    assert not any("calibrate" in a for a in commands(changed(loud, decision_gap=tiny)))


@pytest.mark.parametrize(
    ("n", "ends"), [(40, "with 40 samples; with more samples it may find a gain."), (4000, "with 4000 samples.")]
)
def test_a_rule_that_keeps_the_decision_is_told_to_do_so(loud, n, ends):
    zero = Estimate(value=0.0, low=0.0, high=0.0)
    same = Gap(accuracy=Estimate(value=0.0, low=-0.01, high=0.01), nats=zero)
    settings = loud.settings.model_copy(update={"fitted_samples": n})
    text = told(loud, decision_gap=same, settings=settings)
    assert f"The rule 'pool' finds no gain at the decision layer {ends}" in text


def test_classes_that_lose_by_the_rule_are_named_and_protected(loud):
    def gap(value, flag):
        return ClassGap(accuracy=Estimate(value=value, low=value - 0.05, high=value + 0.05), p=0.01, flag=flag)

    gaps = {"a": gap(-0.1, "loses"), "b": gap(0.4, "gains"), "c": gap(-0.2, "loses")}
    classes = {c: one.model_copy(update={"decision_gap": gaps[c]}) for c, one in loud.classes.items()}
    text = told(loud, classes=classes)
    assert "recovers this, but loses 20.0 pp [15.0, 25.0] on c and 10.0 pp [5.0, 15.0] on a." in text
    assert commands(changed(loud, classes=classes))[:2] == [
        "mmbal calibrate x.npz",
        "mmbal calibrate x.npz --protect 5",
    ]


def test_the_test_of_a_class_is_a_paired_sign_test_with_holm_s_correction():
    """A rule loses on a in every sample, on b in 3 of 12, on c in none: mid-p 2^-12, 2^-3 and 1."""
    labels = np.repeat([0, 1, 2], 12)
    p = Predictions.from_arrays({"labels": labels, "classes": list("abc"), "logits_m": np.eye(3)[labels]})
    wrong = np.concatenate([np.ones(12), [1, 1, 1], np.zeros(9), np.zeros(12)]).astype(bool)
    best = np.eye(3)[np.where(wrong, (labels + 1) % 3, labels)]
    examination = Examination.of(p, None, "pool", 100, 0, 0.95)
    _, by_class, tested = decision_gap(examination.figures, np.eye(3)[labels], best, None)
    found = class_gaps(by_class, tested, 0.05)
    assert [found[c].p for c in "abc"] == pytest.approx([3 * 2**-12, 2 * 2**-3, 1])
    assert (found["a"].flag, found["b"].flag, found["c"].flag) == ("loses", None, None)


# -- what to do next


def test_another_framework_is_not_sent_to_train_here(loud):
    given = commands(with_meta(loud))
    assert "mmbal diagnose x.npz --reference PREDICTIONS.npz" in given
    assert not any(word in command for command in given for word in ("pretrain", "train", "methods"))


def test_people_and_separately_trained_models_have_no_encoders_to_compare(loud):
    for meta in ({"producer": "human raters"}, {"method": "unimodal", "run": "runs/x"}):
        assert commands(with_meta(loud, **meta)) == ["mmbal calibrate x.npz"]


def test_a_run_is_sent_to_pretrain(loud):
    assert commands(with_meta(loud, run="runs/x", method="joint"), "runs/x") == [
        "mmbal calibrate runs/x",
        "mmbal pretrain",
    ]


def test_features_have_no_predictions_to_calibrate(loud):
    assert commands(with_meta(loud, heads="head fitted here")) == ["mmbal diagnose x.npz --reference FEATURES.npz"]


def test_a_stored_rule_is_said_to_count_and_calibrate_is_no_longer_advised(loud):
    stored = with_meta(loud, rule="adaptive", run="runs/x", method="unimodal", fusion="sum")
    assert verdict_of(stored)[0] == "The fitted rule 'adaptive' decides here; all figures are of its decisions."
    assert commands(stored, "runs/x") == ["mmbal calibrate runs/x --remove"]
    # a fusion that is a rule has no decision of its own to return to
    assert commands(with_meta(loud, rule="adaptive", run="runs/x", method="unimodal", fusion="adaptive")) == []


def test_one_modality_has_no_balance():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=200)
    logits = rng.normal(size=(200, 3)) + 2 * np.eye(3)[labels]
    found = diagnose(Predictions.from_arrays({"labels": labels, "logits_a": logits}), bootstrap=100, rule="pool")
    assert found.verdict[0].startswith("There is only one modality")
    assert found.index is None
    assert any(n.what == "index" for n in found.not_computed)


def test_an_imbalance_that_prints_alike_is_no_fault(loud):
    """A million samples can show half a percentage point."""
    shares = {"audio": Estimate(value=0.402, low=0.4, high=0.404), "video": Estimate(value=0.598, low=0.59, high=0.6)}
    other = {"audio": Estimate(value=0.404, low=0.4, high=0.41), "video": Estimate(value=0.596, low=0.59, high=0.6)}
    text = told(loud, contribution=shares, capability=other)
    assert "The contribution of each modality equals its capability to about 1 pp (imbalance index" in text


def test_what_a_rule_costs_is_said_where_it_only_mends_confidences(loud):
    nothing = Estimate(value=0.0, low=-0.01, high=0.01)
    gap = Gap(accuracy=nothing, nats=Estimate(value=0.1, low=0.05, high=0.2))
    losing = ClassGap(accuracy=Estimate(value=-0.1, low=-0.15, high=-0.05), p=0.001, flag="loses")
    classes = {
        c: one.model_copy(update={"decision_gap": losing if c == "b" else None}) for c, one in loud.classes.items()
    }
    found = changed(loud, decision_gap=gap, classes=classes)
    assert "gains 0.10 nats [0.05, 0.20] of log-likelihood, but loses 10.0 pp [5.0, 15.0] on b." in told(found)
    assert commands(found)[1] == "mmbal calibrate x.npz --protect 5"
