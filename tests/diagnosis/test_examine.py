"""Whole diagnoses: of worlds whose truth is known, of odd inputs, and of real files."""

import json

import numpy as np
import pytest

from mmbal.diagnosis import Diagnosis, diagnose
from mmbal.diagnosis.comparison import compare_diagnoses
from mmbal.diagnosis.tables import tables_of
from mmbal.errors import DataError, UsageError
from mmbal.predictions.format import Predictions
from mmbal.predictions.heads import load_features
from mmbal.predictions.synthetic import GaussianWorld

STRENGTH = [[1.8, 1.4, 1.0, 1.6], [0.8, 1.2, 1.5, 0.6]]
WORLD = GaussianWorld("wxyz", ["audio", "video"], STRENGTH, dominance=[1.0, 5.0], width=10)


@pytest.fixture(scope="module")
def known():
    return diagnose(WORLD.sample(6000, seed=1), bootstrap=300, rule="pool")


def inside(estimate, truth):
    return estimate.low <= truth <= estimate.high


def test_decision_gap_is_that_of_the_bayes_layer(known):
    assert known.settings.fitted_on == "calibration split"
    assert inside(known.decision_gap.accuracy, WORLD.bayes_accuracy() - WORLD.as_is_accuracy())


def test_decision_gap_of_every_class_is_that_of_the_bayes_layer():
    """At 99.9 % all four intervals hold their truth, and that of a class that gains nothing would not hold the others'."""
    found = diagnose(WORLD.sample(6000, seed=1), bootstrap=100, rule="pool", confidence=0.999)
    per_class = WORLD.bayes_accuracy(per_class=True) - WORLD.as_is_accuracy(per_class=True)
    gaps = {c: found.classes[c].decision_gap for c in "wxyz"}
    assert all(inside(gaps[c].accuracy, truth) for c, truth in zip("wxyz", per_class, strict=True))
    assert sorted(per_class) == pytest.approx([0.04, 0.08, 0.135, 0.147], abs=0.005)
    assert {c: gap.flag for c, gap in gaps.items()} == {"w": "gains", "x": "gains", "y": None, "z": "gains"}


def test_accuracies_shares_and_index_are_the_world_s(known):
    assert inside(known.accuracy.fused, WORLD.as_is_accuracy())
    for k, m in enumerate(WORLD.modalities):
        assert inside(known.accuracy.alone[m], WORLD.bayes_accuracy([m]))
        assert known.accuracy.probe[m].value == pytest.approx(WORLD.bayes_accuracy([m]), abs=0.03)
        assert inside(known.contribution[m], WORLD.contribution_shares()[k])
        assert inside(known.capability[m], WORLD.contribution_shares(WORLD.bayes_weights)[k])
    assert inside(known.index, WORLD.imbalance_index())
    assert known.balance["video"].flag == "too much"


def test_shapley_values_sum_to_what_the_model_gains_over_a_guess(known):
    total = sum(e.value for e in known.shapley.accuracy.values())
    assert known.shapley.none["accuracy"] == pytest.approx(1 / 4)
    assert total == pytest.approx(known.accuracy.fused.value - 1 / 4)
    nats = sum(e.value for e in known.shapley.log_likelihood.values())
    assert nats == pytest.approx(np.log(4) - known.calibration["fused"].nll.value)


def test_without_calibration_rows_the_rule_is_cross_fitted_and_it_says_so():
    found = diagnose(WORLD.sample(800, seed=2, calibration=0), bootstrap=100, rule="pool")
    assert found.settings.fitted_on == "cross-fitted in the split"
    assert found.decision_gap.accuracy.sign > 0


def test_a_weak_encoder_shows_in_the_representation_and_only_there():
    """The model's video encoder is the world's with half the strength; its decision layer is optimal."""
    poor = GaussianWorld("wxyz", ["audio", "video"], [STRENGTH[0], [0.2] * 4], width=10)
    rich = GaussianWorld("wxyz", ["audio", "video"], [STRENGTH[0], [2.0] * 4], width=10)
    labels = poor.sample(1500, seed=3, calibration=0)
    model = labels
    reference = rich.sample(1500, seed=3, calibration=0)
    assert (model.labels == reference.labels).all()
    found = diagnose(model, reference=reference, bootstrap=200, rule="pool")
    truth = rich.bayes_accuracy() - poor.bayes_accuracy()
    gap = found.representation_gap
    assert gap.by == "linear probes"
    assert gap.accuracy.value == pytest.approx(truth, abs=0.05)
    assert gap.modalities["video"].accuracy.sign > 0
    assert gap.modalities["audio"].accuracy.sign == 0
    assert found.decision_gap.accuracy.sign == 0
    assert found.total.accuracy.value == pytest.approx(gap.accuracy.value + found.decision_gap.accuracy.value)
    assert "encoders, most in that of video" in " ".join(found.verdict)


def test_a_reference_without_features_is_compared_by_decisions():
    p = WORLD.sample(400, seed=1, calibration=0)
    arrays = {f"logits_{m}": p.logits[m] for m in p.modalities}
    bare = Predictions.from_arrays({"labels": p.labels, "classes": p.classes, "ids": p.ids, **arrays})
    found = diagnose(p, reference=bare, bootstrap=100, rule="pool").representation_gap
    assert found.by == "own decisions"
    assert found.accuracy.value == pytest.approx(0, abs=1e-9)


def test_a_modality_that_model_and_reference_never_have_both_has_no_representation_gap():
    p = WORLD.sample(400, seed=1, calibration=0)
    half, (first, *_) = np.arange(400) < 200, p.modalities
    given = {
        "labels": p.labels,
        "classes": p.classes,
        "ids": p.ids,
        **{f"logits_{m}": p.logits[m] for m in p.modalities},
    }
    model, reference = ({**given, f"present_{first}": where} for where in (half, ~half))
    found = diagnose(
        Predictions.from_arrays(model), reference=Predictions.from_arrays(reference), bootstrap=50, rule="pool"
    )
    told = [n.what for n in found.not_computed if n.what.startswith("representation_gap.modalities")]
    assert told == [f"representation_gap.modalities.{first}"]
    assert set(found.representation_gap.modalities) == set(p.modalities) - {first}


def test_a_reference_with_other_labels_or_ids_is_refused():
    p = WORLD.sample(100, seed=1, calibration=0)
    other = WORLD.sample(100, seed=2, calibration=0)
    with pytest.raises(DataError, match="same id"):
        diagnose(p, reference=other, bootstrap=100, rule="pool")
    from dataclasses import replace

    with pytest.raises(DataError, match="different labels"):
        diagnose(p, reference=replace(other, ids=p.ids), bootstrap=100, rule="pool")


def test_it_is_saved_and_read_back_and_holds_no_nan(known, tmp_path):
    known.save(tmp_path / "diagnosis.json")
    assert Diagnosis.load(tmp_path / "diagnosis.json") == known
    document = json.loads((tmp_path / "diagnosis.json").read_text())
    assert document["schema_version"] == 1
    assert set(document["index"]) == {"value", "low", "high"}
    (tmp_path / "old.json").write_text('{"schema_version": 0}')
    with pytest.raises(DataError, match="schema version 1"):
        Diagnosis.load(tmp_path / "old.json")


def test_a_diagnosis_of_version_0_1_0_is_read(known, tmp_path):
    """It called some keys otherwise, and did not know others."""
    old = json.loads(known.model_dump_json())
    old["shortfall"] = old.pop("total")
    old["data"]["absent"] = old["data"].pop("missing")
    old["preference"]["flips"] = old["preference"].pop("changes_without")
    for one in old["missing"].values():
        one["absent"] = one.pop("removed")
    for norms in (old["norms"], *(c["norms"] for c in old["classes"].values())):
        for one in norms.values():
            one["votes"] = one.pop("contribution")
    new = {"preference": ("none", "lead"), "accuracy": ("above_chance", "above_majority", "samples_needed")}
    for section, keys in {**new, "settings": ("fitted_samples",)}.items():
        for key in keys:
            del old[section][key]
    for one in old["classes"].values():
        del one["decision_gap"]["p"], one["decision_gap"]["flag"]
    (tmp_path / "d.json").write_text(json.dumps(old))
    found = Diagnosis.load(tmp_path / "d.json")
    assert found.preference.changes_without == known.preference.changes_without
    assert found.data.missing == known.data.missing
    assert found.missing["audio"].removed == known.missing["audio"].removed
    assert found.norms["video"].contribution == known.norms["video"].contribution
    assert found.classes["w"].norms["video"].contribution == known.classes["w"].norms["video"].contribution


def test_same_seed_same_diagnosis():
    p = WORLD.sample(300, seed=1, calibration=0)
    assert diagnose(p, bootstrap=100, rule="pool") == diagnose(p, bootstrap=100, rule="pool")


def test_three_lines_by_hand():
    found = diagnose(
        Predictions.from_arrays(
            {"labels": [0, 1, 0], "logits_a": np.eye(2)[[0, 1, 1]], "logits_b": np.eye(2)[[0, 0, 0]]}
        )
    )
    assert found.accuracy.alone["a"].value == pytest.approx(2 / 3)
    assert found.index.sign == 0
    assert found.accuracy.fused.low is None  # of three samples no interval is given
    assert "plain sum" in found.data.decision


ODD = {
    "one sample": {"labels": [0]},
    "one class": {"labels": [1] * 30},
    "classes without samples": {"labels": [0, 2] * 20},
    "a dead modality": {"labels": [0, 1, 2] * 20, "logits_b": np.zeros((60, 4))},
    "a constant modality": {"labels": [0, 1, 2] * 20, "logits_b": np.tile([3.0, 1, 0, 0], (60, 1))},
    "a modality that is never there": {"labels": [0, 1, 2] * 20, "present_b": np.zeros(60, bool)},
    "modalities that are never together": {
        "labels": [0, 1, 2] * 20,
        "present_a": np.arange(60) % 2 == 0,
        "present_b": np.arange(60) % 2 == 1,
    },
    "a fusion without parts": {"labels": [0, 1, 2] * 20, "fused": np.eye(4)[[0, 1, 2] * 20]},
    "one group": {"labels": [0, 1, 2] * 20, "group": ["x"] * 60},
    "one group a sample": {"labels": [0, 1, 2] * 20, "group": np.arange(60).astype(str)},
    "dead features": {"labels": [0, 1, 2] * 20, "features_a": np.zeros((60, 3)), "features_b": np.ones((60, 1))},
}


ALWAYS = {"representation_gap", "total", "gate"}  # no reference and no weights by sample are given
BALANCE = {"index", "contribution", "capability", "balance"}
OF_TWO = {"preference", "samples", "discrepancy", "interaction"}
NOT_COMPUTED = {
    "one sample": {"decision_gap", "suspects", *BALANCE},
    "one class": {"decision_gap", "suspects"},
    "a dead modality": {"preference"},
    "a modality that is never there": {"suspects", *OF_TWO},
    "modalities that are never together": OF_TWO,
    "a fusion without parts": {"shapley", "interaction", "norms", *BALANCE},
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings("error")
def test_odd_inputs_are_diagnosed_or_named(kind, tmp_path):
    given = ODD[kind]
    n = len(given["labels"])
    rng = np.random.default_rng(0)
    logits = {f"logits_{m}": rng.normal(size=(n, 4)) + np.eye(4)[given["labels"]] for m in "ab"}
    found = diagnose(Predictions.from_arrays({**logits, **given}), bootstrap=100, rule="pool")
    found.save(tmp_path / "d.json")
    assert found.verdict
    whole = {n.what for n in found.not_computed if "." not in n.what}  # tests/diagnosis/test_sections.py has the parts
    assert whole == ALWAYS | NOT_COMPUTED.get(kind, set())
    assert all(n.reason for n in found.not_computed)


def test_six_modalities(noisy):
    p = noisy(300, 5, {m: 2.0 / (k + 1) for k, m in enumerate("abcdef")})
    found = diagnose(p, bootstrap=100, rule="pool")
    assert set(found.shapley.accuracy) == set("abcdef")
    assert max(found.capability, key=lambda m: found.capability[m].value) == "a"


@pytest.mark.parametrize(
    ("modalities", "reason"),
    [
        (8, "the decision without some modalities is not known"),
        (9, "exact values are computed for at most 8 modalities"),
    ],
)
def test_why_shapley_values_are_not_computed(noisy, modalities, reason):
    names = "abcdefghi"[:modalities]
    decided = np.random.default_rng(1).normal(size=(60, 3))
    p = noisy(60, 3, dict.fromkeys(names, 1.0), fused=decided)
    found = diagnose(p, bootstrap=20, rule="pool")
    assert reason in {n.reason for n in found.not_computed if n.what.startswith("shapley")}


def test_the_index_may_be_zero_where_no_imbalance_stands_the_test():
    """An average of distances is positive in every sample of the data, so its bootstrap interval never has zero in it."""
    labels = np.repeat([0, 1], 200)
    logits = np.random.default_rng(0).normal(size=(2, 400, 2)) + 2 * np.eye(2)[labels]
    index = {}
    for scale in (1, 8):
        data = {"labels": labels, "logits_a": logits[0], "logits_b": logits[1], "fused": logits[0] + scale * logits[1]}
        data |= {"contribution_a": logits[0], "contribution_b": scale * logits[1]}
        index[scale] = diagnose(Predictions.from_arrays(data), bootstrap=100, rule="pool").index
    assert index[1].low == 0 < index[1].value
    assert 0 < index[8].low < index[8].value


def test_an_unknown_split_is_named():
    with pytest.raises(UsageError, match="no split 'later'"):
        diagnose(WORLD.sample(50, seed=1), split="later")


def test_comparison_is_paired_by_ids_in_any_order():
    p = WORLD.sample(400, seed=1, calibration=0)
    shuffled = p.take(np.random.default_rng(0).permutation(400)[:350])
    found = compare_diagnoses({"one": p, "two": shuffled}, bootstrap=100, rule="pool")
    assert found.paired
    assert found.samples == 350
    change = found.differences["two"].figures
    assert change["accuracy.fused"].value == 0
    assert change["accuracy.fused"].high == 0
    assert change["index"].value == pytest.approx(0, abs=1e-9)
    assert found.differences["two"].mcnemar == 1.0


def test_comparison_of_other_samples_is_not_paired():
    found = compare_diagnoses(
        {f"s{k}": WORLD.sample(300, seed=k, calibration=0) for k in (1, 2)}, bootstrap=100, rule="pool"
    )
    assert not found.paired
    change = found.differences["s2"]
    assert change.mcnemar is None
    assert change.figures["accuracy.fused"].high > change.figures["accuracy.fused"].low


def test_a_comparison_needs_two():
    with pytest.raises(UsageError, match="two"):
        compare_diagnoses({"one": WORLD.sample(50, seed=1)})


def test_people_lean_on_the_face_and_a_network_on_the_voice(shared_data):
    p = load_features(shared_data / "features" / "cremad_test_joint.npz")
    reference = load_features(shared_data / "features" / "cremad_test_separate_ume.npz")
    found = diagnose(p, reference=reference, human=True, bootstrap=200, rule="pool")
    assert found.settings.resampled == "group"
    assert found.human.model_follows["voice"].value > 0.5 > found.human.raters_follow["voice"].value
    assert set(found.human.classes) == {"ANG", "DIS", "FEA", "HAP", "NEU", "SAD"}
    assert found.representation_gap.modalities["video"].accuracy.sign > 0
    assert found.verdict[0].startswith("Audio decides")
    table = next(t for t in tables_of(found) if any("raters" in c.name for c in t.columns))
    alone = [f"{sense} alone, {who}" for sense in ("voice", "face") for who in ("model", "raters")]
    assert [c.name for c in table.columns[1:5]] == alone


def test_human_needs_clip_names_of_the_dataset(noisy):
    with pytest.raises(DataError, match="'voice'"):
        diagnose(noisy(50, 3, {"a": 1.0, "b": 1.0}), human=True, bootstrap=100, rule="pool")
    with pytest.raises(DataError, match="clip names"):
        diagnose(noisy(50, 3, {"audio": 1.0, "video": 1.0}), human=True, bootstrap=100, rule="pool")


@pytest.mark.parametrize(
    "name",
    ["cremad_humans.votes.0", "mosi_text_audio_video.mlp.0", "scene15_gist_phog_lbp.lr.0", "webkb_page_link.lr.0"],
)
def test_the_decision_suite_is_diagnosed(shared_data, name):
    found = diagnose(Predictions.load(shared_data / "decisions" / f"{name}.npz"), bootstrap=100, rule="pool")
    assert found.index is not None
    assert found.decision_gap is not None


def test_summing_voice_and_face_is_worse_than_the_face_alone(shared_data):
    found = diagnose(Predictions.load(shared_data / "decisions" / "cremad_humans.votes.0.npz"), bootstrap=200)
    text = " ".join(found.verdict)
    assert "The fused decision is worse than face alone" in text
    assert "Face carries" in text
    assert found.decision_gap.accuracy.sign > 0
