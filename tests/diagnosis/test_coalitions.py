"""Which arrays of a file make the decision and its parts."""

import numpy as np
import pytest

from mmbal.diagnosis.coalitions import correct, decision_of, log_likelihood
from mmbal.predictions.format import Predictions

A = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
B = np.array([[0.0, 1.0], [0.0, 3.0], [0.5, 0.0]])


def predictions(**arrays):
    return Predictions.from_arrays({"labels": [0, 1, 1], "logits_a": A, "logits_b": B, **arrays})


def test_right_wrong_and_a_row_that_says_nothing():
    assert correct(np.array([[2.0, 0, 0], [2, 0, 0], [1, 1, 1]]), np.array([0, 2, 1])).tolist() == [1.0, 0.0, 1 / 3]


def test_log_likelihood_in_nats():
    assert log_likelihood(np.log([[0.25, 0.75]]) + 5.0, np.array([1]))[0] == pytest.approx(np.log(0.75))


def test_without_fused_the_plain_sum_decides_and_says_so():
    found = decision_of(predictions())
    assert np.array_equal(found.fused, A + B)
    assert "plain sum" in found.source
    assert np.array_equal(found.without("a"), B)
    assert np.array_equal(found.coalition(()), np.zeros((3, 2)))


def test_a_plain_sum_adds_only_modalities_that_are_there():
    found = decision_of(predictions(present_b=[True, False, True]))
    assert np.array_equal(found.fused[1], A[1])


def test_fused_that_is_the_sum_up_to_a_constant_has_the_logits_as_parts():
    found = decision_of(predictions(fused=A + B + np.array([[1.0], [2.0], [3.0]])))
    assert np.array_equal(found.contribution["b"], B)
    assert found.source == "fused"


def test_fused_of_another_kind_has_no_parts():
    found = decision_of(predictions(fused=A * B))
    assert found.contribution == {}
    assert found.without("a") is None
    assert found.parts is None


def test_contributions_come_before_logits():
    found = decision_of(predictions(contribution_a=2 * A, contribution_b=B, fused=2 * A + B))
    assert np.array_equal(found.contribution["a"], 2 * A)


def test_coalitions_give_shapley_parts_that_sum_to_fused_less_nothing():
    fused, nothing = A * B, np.full((3, 2), [0.3, 0.0])
    found = decision_of(predictions(fused=fused, subset_a=A, subset_b=B, subset_=nothing))
    assert np.allclose(found.contribution["a"], ((A - nothing) + (fused - B)) / 2)
    assert np.allclose(sum(found.contribution.values()), fused - nothing)
    assert np.array_equal(found.without("a"), B)
    assert np.array_equal(found.coalition(()), nothing)
