"""Modality discrepancy and the uniform draw, by hand."""

import numpy as np
import pytest

from mmbal.errors import UsageError
from mmbal.maths.discrepancy import discrepancy, uniform_draw


def test_two_modalities_by_hand():
    found = discrepancy({"video": np.array([0.9, 0.2, 0.5]), "audio": np.array([0.3, 0.7, 0.5])})
    assert found.modalities == ("audio", "video")
    assert found.preferred.tolist() == [1, 0, 0]  # the tie goes to the first by name
    assert found.gap == pytest.approx([0.6, 0.5, 0.0])
    assert found.cells(5).tolist() == [5 + 3, 2, 0]


def test_three_modalities_and_a_missing_one():
    confidence = {"a": np.array([0.9, 0.9, 0.9]), "b": np.array([0.4, 0.8, 0.1]), "c": np.array([0.2, 0.7, 0.1])}
    present = {
        "a": np.array([True, False, True]),
        "b": np.array([True, True, False]),
        "c": np.array([True, True, False]),
    }
    found = discrepancy(confidence, present)
    assert found.preferred.tolist() == [0, 1, -1]
    assert found.gap == pytest.approx([0.9 - 0.3, 0.8 - 0.7, 0.0])
    assert found.cells(2).tolist() == [1, 2, -1]


def test_one_modality_has_no_discrepancy():
    with pytest.raises(UsageError, match="at least two modalities"):
        discrepancy({"a": np.ones(3)})


def test_the_draw_makes_cells_uniform_without_inventing_samples():
    cells = np.repeat([0, 1, 2], [60, 30, 10])
    drawn = uniform_draw(cells, np.random.default_rng(0))
    assert sorted(np.bincount(cells[drawn]).tolist()) == [33, 33, 34]
    times = np.bincount(drawn, minlength=100)
    assert set(times[:60]) <= {0, 1}
    assert set(times[60:90]) <= {1, 2}
    assert set(times[90:]) <= {3, 4}


def test_a_very_rare_cell_is_not_repeated_beyond_the_limit():
    cells = np.repeat([0, 1], [98, 2])
    drawn = uniform_draw(cells, np.random.default_rng(0), repeats=5)
    assert np.bincount(cells[drawn]).tolist() == [90, 10]


def test_strength_zero_keeps_every_sample_once_and_rows_without_a_cell_keep_their_share():
    cells = np.repeat([-1, 0, 1], [20, 50, 30])
    assert uniform_draw(cells, np.random.default_rng(0), strength=0.0).tolist() == list(range(100))
    drawn = uniform_draw(cells, np.random.default_rng(0))
    assert [(cells[drawn] == c).sum() for c in (-1, 0, 1)] == [20, 40, 40]
