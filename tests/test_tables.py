"""A table drops intervals, then its least important columns, and says which."""

from dataclasses import dataclass

from mmbal.tables import Column, Table
from mmbal.text import SHARE


@dataclass
class Figure:
    value: float
    low: float | None = None
    high: float | None = None


def example() -> Table:
    return Table.of(
        [
            Column("modality", ["audio", "video"]),
            Column("accuracy alone", [Figure(0.594, 0.55, 0.63), None], SHARE),
            Column("contribution", [Figure(0.83, 0.8, 0.9), Figure(0.17, 0.1, 0.2)], SHARE, bar=8, left=True),
            Column("ECE", [0.04, 0.17], drop=9),
            Column("probe", [None, None]),
        ],
        title="Modalities",
    )


def test_a_column_that_holds_nothing_is_left_out_but_the_first_stays():
    assert example().head == ["modality", "accuracy alone", "contribution", "ECE"]
    assert Table.of([Column("class", []), Column("n", [])]).head == ["class"]


def test_cells_are_text_with_intervals_and_bars():
    assert example().rows() == [
        ["audio", "59.4 % [55.0, 63.0]", "83.0 % ██████▋ ", "0.04"],
        ["video", "–", "17.0 % █▍      ", "0.17"],
    ]


def test_what_has_no_room_goes_by_importance():
    table = example()
    wide = table.width()
    assert wide == 1 + (8 + 3) + (19 + 3) + (15 + 3) + (4 + 3)
    assert table.fitting(wide).intervals
    assert not table.fitting(wide).dropped
    narrower = table.fitting(wide - 1)
    assert not narrower.intervals
    assert not narrower.dropped
    narrow = table.fitting(table.width(intervals=False) - 1)
    assert narrow.dropped == ["ECE"]
    assert narrow.table.head == ["modality", "accuracy alone", "contribution"]
    assert table.fitting(3).table.head == ["modality", "accuracy alone", "contribution"]  # weight 0 never goes
