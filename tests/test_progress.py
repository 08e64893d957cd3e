"""Parts of the work in hand nest, and whoever listens hears what share of all is done."""

from __future__ import annotations

import pytest

from mmbal.progress import listening, portion, steps


def test_steps_are_equal_parts_or_have_weights():
    heard: list[float] = []
    with listening(heard.append):
        assert list(steps("ab")) == ["a", "b"]
    assert heard == [0.5, 1.0]
    heard.clear()
    with listening(heard.append):
        list(steps([1, 2, 3], [1, 1, 2]))
    assert heard == [0.25, 0.5, 1.0]


def test_parts_of_a_part_are_shares_of_it_and_never_exceed_it():
    heard: list[float] = []
    with listening(heard.append):
        for _ in steps("ab"):
            with portion(0.5):
                list(steps("xy"))
            list(steps("z"))  # the rest of the part is less than this claims
    assert heard == [0.125, 0.25, 0.25, 0.5, 0.5, 0.625, 0.75, 0.75, 1.0, 1.0]


def test_a_part_that_ends_early_counts_as_done():
    heard: list[float] = []
    with listening(heard.append):
        for part in steps("ab"):
            for inner in steps("wxyz"):
                if part == "a" and inner == "w":
                    break
    assert heard[-1] == 1.0
    assert heard == sorted(heard)


def test_a_failure_leaves_the_whole_as_it_was():
    heard: list[float] = []
    with listening(heard.append):
        with pytest.raises(KeyError), portion(0.5), portion(0.5):
            raise KeyError
        with portion(0.25):
            pass
    assert heard == [0.25, 0.5, 0.75]


def test_nobody_has_to_listen():
    with portion(0.5):
        assert list(steps("ab")) == ["a", "b"]
