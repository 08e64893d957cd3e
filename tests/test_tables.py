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
        ["audio", "59.4 % [55.0, 63.0]", "83.0 % [80.0, 90.0] ██████▋ ", "0.04"],
        ["video", "–", "17.0 % [10.0, 20.0] █▍      ", "0.17"],
    ]


def test_what_has_no_room_goes_by_importance():
    table = example()
    wide = table.width()
    assert wide == 1 + (8 + 3) + (19 + 3) + (19 + 9 + 3) + (4 + 3)
    whole = table.fitting(wide)
    assert (whole.table, whole.intervals, whole.dropped) == (table, True, [])
    no_bars = table.fitting(wide - 1)
    assert (no_bars.table.columns[2].bar, no_bars.intervals, no_bars.dropped) == (0, True, [])
    # 1 + 11 + 22 + 22 = 56 without bars and without the least important column, whose interval nobody misses more.
    no_ece = table.fitting(56)
    assert (no_ece.intervals, no_ece.dropped) == (True, ["ECE"])
    # The intervals go last; the bars take the room that they leave.
    narrow = table.fitting(55)
    assert (narrow.intervals, narrow.dropped) == (False, ["ECE"])
    assert narrow.table.columns[2].bar == 8
    assert table.fitting(3).table.head == ["modality", "accuracy alone", "contribution"]  # importance 0 never goes


def test_columns_more_important_than_the_intervals_go_after_them():
    some = [Figure(0.5, 0.4, 0.6)]
    table = Table.of([Column("m", ["a"]), Column("x", some, drop=1), Column("y", some, drop=2), Column("z", ["w"])])
    # Widths: 1 + (1 + 3) + two of (17 + 3) + (1 + 3) = 49.
    assert table.width() == 49
    fitted = {width: table.fitting(width) for width in (48, 28, 17)}
    assert [(f.intervals, f.dropped) for f in fitted.values()] == [(True, ["y"]), (False, ["y"]), (False, ["y"])]
    assert table.fitting(12).dropped == ["y", "x"]


def test_text_that_may_be_broken_needs_little_room():
    table = Table.of([Column("where", ["a path " * 20], wrap=True), Column("n", [1])])
    assert table.width() == 1 + (24 + 3) + (1 + 3)
    assert table.fitting(40).dropped == []


def test_a_long_name_is_broken_where_nothing_else_can_go():
    table = Table.of([Column("class", ["a class with a long name, 1"]), Column("n", [1], drop=1), Column("x", [0.25])])
    # Widths: 1 + (27 + 3) + (1 + 3) + (4 + 3) = 42; without n 38; the name needs 24 of its 27 where it is broken.
    assert [c.wrap for c in table.fitting(38).table.columns] == [False, False]
    broken = table.fitting(37)
    assert [c.wrap for c in broken.table.columns] == [True, False], "figures are never broken"
    assert broken.table.width() == 35
