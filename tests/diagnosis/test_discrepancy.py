"""Accuracy by modality discrepancy, on samples worked out by hand."""

import numpy as np
import pytest
from terminal import mmbal, ok

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.coalitions import decision_of
from mmbal.diagnosis.sections.discrepancy import discrepancy_of
from mmbal.errors import DataError
from mmbal.predictions.format import Predictions


def logits(rows):
    return np.log(np.array(rows))


AUDIO = logits([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.5, 0.5]])
VIDEO = logits([[0.5, 0.5], [0.1, 0.9], [0.2, 0.8], [0.4, 0.6]])
FUSED = logits([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.3, 0.7]])


@pytest.fixture
def table():
    def make(**more):
        given = {"labels": np.array([0, 0, 1, 1]), "ids": np.array(["p", "q", "r", "s"]), "fused": FUSED}
        return Predictions.from_arrays(given | {"logits_audio": AUDIO, "logits_video": VIDEO} | more)

    return make


def found(figures_of, predictions, unimodal=None, bins=2):
    return discrepancy_of(figures_of(predictions), predictions, decision_of(predictions), unimodal, bins)


def test_by_hand(table, figures_of):
    d = found(figures_of, table())
    # Confidences of the truth: p .9 against .5 and q .8 against .1 for audio; r .8 against .1 and s .6 against .5 for video.
    assert d.by == "the modalities' own decisions"
    assert {m: {b: x.samples for b, x in bins.items()} for m, bins in d.bins.items()} == {
        "audio": {"1": 1, "2": 1},
        "video": {"1": 1, "2": 1},
    }
    assert [d.bins[m][b].fused.value for m in ("audio", "video") for b in "12"] == [1.0, 0.0, 1.0, 0.0]
    assert d.bins["video"]["2"].gain.value == -1.0
    assert d.bins["video"]["1"].alone["audio"].value == 0.5  # a row of equal logits is a guess
    assert (d.bins["video"]["2"].low, d.bins["video"]["2"].high) == (0.5, 1.0)
    assert d.preferred["audio"].samples == 2
    assert d.preferred["audio"].fused.value == 0.5
    assert d.preferred["audio"].gain.value == -0.5  # audio is right on both, the model on p alone


def test_the_separately_trained_models_decide_who_is_preferred(table, figures_of):
    p = table()
    order = [3, 1, 0]  # r is unknown to them, and the others stand in another order
    separate = Predictions.from_arrays(
        {
            "labels": p.labels[order],
            "ids": p.ids[order],
            "logits_audio": logits([[0.5, 0.5], [0.1, 0.9], [0.7, 0.3]]),
            "logits_video": logits([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]),
        }
    )
    d = found(figures_of, p, separate, bins=1)
    # s .5 against .1 and p .7 against .2 for audio, q .6 against .1 for video
    assert d.by == "the separately trained models"
    assert {m: x.samples for m, x in d.preferred.items()} == {"audio": 2, "video": 1}
    assert d.preferred["audio"].alone["audio"].value == 0.75  # right on p, a guess on s
    assert d.preferred["audio"].gain.value == 0.25  # the model is right on both
    assert d.preferred["video"].fused.value == 0.0
    with pytest.raises(DataError, match="same id"):
        found(figures_of, p, table(ids=np.array(["t", "u", "v", "w"])))


def test_a_modality_is_scored_on_the_samples_that_have_it(table, figures_of):
    gone = np.array([True, True, True, False])
    d = found(figures_of, table(present_video=gone, logits_text=AUDIO))
    # Audio and text tie in p (by .9 - .7), q (.8 - .45) and s (.5 - .5), which has no video: the first by name counts.
    assert d.bins["audio"]["1"].samples == 3
    assert d.bins["audio"]["1"].alone["video"].value == 0.25  # over p, a guess, and q, where it is wrong
    assert d.bins["video"]["2"].samples == 1  # r, by .8 - .1
    alone = table(present_video=np.zeros(4, dtype=bool))
    assert found(figures_of, alone) is None


def test_one_modality_has_no_discrepancy(figures_of):
    p = Predictions.from_arrays({"labels": np.array([0, 0, 1, 1]), "logits_audio": AUDIO})
    assert found(figures_of, p) is None


def test_it_is_part_of_the_diagnosis_and_of_its_tables(noisy, tmp_path):
    p = noisy(120, 3, {"a": 2.0, "b": 1.0})
    d = diagnose(p, rule="pool", bootstrap=100)
    assert d.discrepancy is not None
    assert sum(x.samples for x in d.discrepancy.preferred.values()) == 120
    assert sum(x.samples for bins in d.discrepancy.bins.values() for x in bins.values()) == 120
    assert d.discrepancy.preferred["a"].gain.low is not None
    p.save(tmp_path / "p.npz")
    command = ["diagnose", tmp_path / "p.npz", "--split", p.split[0], "--rule", "pool", "--bootstrap", "100"]
    assert "0.00 to 0.25" not in ok(*command)
    shown = ok(*command, "--full")
    assert "0.00 to 0.25" in shown
    gate = mmbal(*command, "--fail-if", "discrepancy.preferred.b.gain < 1")
    assert gate.exit_code == 3
