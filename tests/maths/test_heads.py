"""The linear head on features: its scale, two classes, and classes without rows."""

import numpy as np

from mmbal.maths.heads import fit_head, standardise


def test_standardise_uses_the_training_rows_and_silences_dead_dimensions():
    train, test = standardise(np.array([[0.0, 7], [2, 7]]), np.array([[3.0, 9]]))
    assert train.tolist() == [[-1, 0], [1, 0]]
    assert test.tolist() == [[2, 0]]


def test_a_dimension_that_hardly_changes_beside_the_others_is_dead():
    """Its spread of 1e-4 is a rounding error beside one of 1e6; among small dimensions it is a signal."""
    large, small = (standardise(np.array([[0.0, 7], [2 * s, 7.0002]]))[0] for s in (1e6, 1e-3))
    assert large.tolist() == [[-1, 0], [1, 0]]
    np.testing.assert_allclose(small, [[-1, -1], [1, 1]])


def test_head_of_two_classes_has_opposite_rows():
    z = np.array([[1.0], [2.0], [-1.0], [-2.0]])
    weight, bias = fit_head(z, np.array([1, 1, 0, 0]), classes=2)
    assert weight[1, 0] > 0
    assert np.allclose(weight[0], -weight[1])
    assert np.allclose(bias, 0, atol=1e-4)


def test_a_class_without_rows_is_never_decided():
    rng = np.random.default_rng(0)
    labels = np.array([0, 2, 3] * 20)
    z = rng.normal(size=(60, 4)) + 3 * np.eye(4)[labels]
    weight, bias = fit_head(z, labels, classes=4)
    assert (weight[1] == 0).all()
    assert bias[1] < bias[[0, 2, 3]].min()
    assert ((z @ weight.T + bias).argmax(axis=1) != 1).all()
