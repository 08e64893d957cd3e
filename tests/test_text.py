"""Figures are written in one way everywhere."""

from dataclasses import dataclass

import pytest

from mmbal.text import COUNT, DASH, DIFFERENCE, NATS, SHARE, Form, bar, duration, p_value, plural, some


@dataclass
class Figure:
    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None


@pytest.mark.parametrize(
    ("form", "figure", "told"),
    [
        (SHARE, Figure(0.655, 0.621, 0.689), "65.5 % [62.1, 68.9]"),
        (SHARE, Figure(0.655), "65.5 %"),
        (SHARE, 0.5, "50.0 %"),
        (SHARE, None, DASH),
        (SHARE.bare(), Figure(0.655, 0.621, 0.689), "65.5 [62.1, 68.9]"),
        (DIFFERENCE, Figure(-0.031, -0.044, 0.018), "−3.1 pp [−4.4, +1.8]"),
        (DIFFERENCE, -0.0001, "+0.0 pp"),
        (NATS, Figure(0.7052, 0.69, 0.721), "0.705 [0.690, 0.721]"),
        (SHARE, Figure(0.655, spread=0.0119), "65.5 % ± 1.2"),
        (COUNT, 12.0, "12"),
        (Form(1, unit=" nats"), 2.25, "2.2 nats"),
    ],
)
def test_a_figure_is_written_as_value_unit_interval(form, figure, told):
    assert form.text(figure) == told


def test_the_interval_can_be_left_out():
    assert SHARE.text(Figure(0.655, 0.621, 0.689), interval=False) == "65.5 %"


def test_small_p_values_are_bounded():
    assert [p_value(p) for p in (0.0311, 0.0004, None)] == ["0.031", "< 0.001", DASH]


def test_a_bar_has_eighths():
    assert [bar(x, 4) for x in (0, 0.5, 1, 1 / 32, 7)] == ["", "██", "████", "▏", "████"]


def test_a_number_agrees_with_its_noun():
    assert [plural(1, "file"), plural(2000, "file"), plural(2, "class", "classes")] == [
        "1 file",
        "2,000 files",
        "2 classes",
    ]


def test_how_long_something_took():
    assert [duration(s) for s in (0.2, 0.96, 50.4, 150, 7490)] == ["0.2 s", "1 s", "50 s", "2 min", "2 h 5 min"]


def test_some_of_many_names():
    assert some(["a", "b"]) == "a, b"
    assert some([1, 2, 3, 4], most=2) == "1, 2, ... 4 in all"
