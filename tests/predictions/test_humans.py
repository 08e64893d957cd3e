"""The raters' figures, as the data's own documentation states them: 46.6 % by voice, 68.9 % by face, 74.9 % by both."""

import numpy as np
import pytest

from mmbal.predictions.humans import human_votes, log_votes, read_votes


def test_how_often_raters_are_right():
    found = human_votes()
    right = {m: np.mean(found.logits[m].argmax(axis=1) == found.labels) for m in found.modalities}
    assert right["voice"] == pytest.approx(0.466, abs=5e-4)
    assert right["face"] == pytest.approx(0.689, abs=5e-4)
    votes = read_votes()
    assert np.mean(votes["av_votes"].argmax(axis=1) == votes["label"]) == pytest.approx(0.749, abs=5e-4)


def test_the_sum_of_log_votes_is_worse_than_the_face_alone():
    found = human_votes().select("test")
    summed = np.mean(found.fused.argmax(axis=1) == found.labels)
    assert summed < np.mean(found.logits["face"].argmax(axis=1) == found.labels)


def test_log_votes_by_hand():
    # Ten raters, two of three classes named: (6 + 1/2) / (10 + 3/2) and so on.
    assert np.allclose(np.exp(log_votes(np.array([[6, 4, 0]]))), [[6.5 / 11.5, 4.5 / 11.5, 0.5 / 11.5]])
