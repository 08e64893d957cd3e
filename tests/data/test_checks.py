"""What shows when all samples are seen together: spellings, clips that are listed twice, pieces that overlap, verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from mmbal.data.media.recipe import Source
from mmbal.data.preparation.checks import collapsed, leaks, repeats, spellings, verdict
from mmbal.data.preparation.findings import Finding
from mmbal.data.preparation.manifest import Row
from mmbal.predictions.labels import alike


def row(
    name: str, path: str, label: str = "x", start: float | None = None, end: float | None = None, line: int = 0
) -> Row:
    source = Source(path, start=start, end=end)
    return Row(name, label, {"audio": source, "video": source}, line=line)


def found(rows: list[Row], split: list[str]) -> list[tuple[str, str, str]]:
    ids = np.array([r.id for r in rows])
    return [(f.kind, f.where, f.reason) for f in repeats(rows, ids, np.array(split))]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["Happy", "happy", "sad"], [("Happy", "happy")]),
        (["very good", "very_good", "very-good"], [("very good", "very_good", "very-good")]),
        (["1", "1.0", "01", "2"], [("1", "1.0", "01")]),
        (["A", "a", "B", "b"], []),  # letters are classes
        (["-1", "1", "+", "-"], []),
        (["C", "C++", "C#"], []),
        (["\uff21ngry", "angry"], [("\uff21ngry", "angry")]),  # a full-width letter
        (["cat", "cats"], []),
    ],
)
def test_names_that_may_be_one(names, groups):
    assert alike(names) == groups


def test_classes_and_groups_under_two_spellings_are_named():
    got = spellings(np.array([0, 0, 1, 2]), ["Happy", "happy", "nan"], np.array(["Ann", "ann", "bob", ""]))
    assert [(f.level, f.kind, f.where, f.reason) for f in got] == [
        ("warning", "two spellings", "Happy", "'Happy' (2 samples), 'happy' (1 sample) count as different classes"),
        ("warning", "missing label", "nan", "the class of 1 sample may be a missing label"),
        ("warning", "two spellings", "Ann", "'Ann', 'ann' count as different groups"),
    ]
    assert spellings(np.array([0, 1]), ["a", "b"], None) == []


def test_a_clip_that_is_listed_twice_is_named_with_its_labels():
    rows = [row("a", "a.mp4", "x", line=2), row("b", "b.mp4", line=3), row("a#2", "a.mp4", "y", line=4)]
    assert found(rows, ["train"] * 3) == [
        ("two labels", "a#2", "the clip of a, listed twice (lines 2 and 4) with the labels 'x' and 'y'")
    ]
    assert found(rows, ["train", "train", "test"]) == [
        ("leak", "a#2", "the clip of a, listed twice (lines 2 and 4) with the labels 'x' and 'y', in train and in test")
    ]
    rows = [row("a", "a.mp4"), row("a#2", "a.mp4")]
    assert found(rows, ["train", "train"]) == [
        ("listed twice", "a#2", "the clip of a, listed twice with the label 'x' both times")
    ]
    rows = [row("a", "a.mp4", "x", 0.0, 1.0), row("a#2", "a.mp4", "x", 1.0, 2.0)]
    assert found(rows, ["train", "train"]) == []
    texts = [Row("a", "x", {"text": Source(text="yes")}), Row("b", "y", {"text": Source(text="yes")})]
    assert found(texts, ["train", "test"]) == []  # short texts are the same by nature


@pytest.mark.parametrize(
    ("pieces", "split", "shared"),
    [
        ([(0, 2), (1, 3)], ["train", "test"], "1.00 s of it"),
        ([(0, 2), (1, 3)], ["train", "train"], None),
        ([(0, 2), (2, 4)], ["train", "test"], None),
        ([(0, 2), (1.95, 4)], ["train", "test"], None),  # a fortieth of the shorter piece
        ([(None, None), (1, 3)], ["train", "test"], "2.00 s of it"),
        ([(0, 10), (1, 2), (3, 4)], ["train", "train", "val"], "1.00 s of it"),
    ],
)
def test_pieces_of_one_clip_that_overlap_across_splits_are_a_leak(pieces, split, shared):
    rows = [row(f"p{k}", "a.mp4", start=start, end=end) for k, (start, end) in enumerate(pieces)]
    got = found(rows, split)
    if shared is None:
        assert got == []
    else:
        ((kind, _, reason),) = got
        assert kind == "leak"
        assert reason == f"the same clip as p0 (train), {shared} in both"


def test_copies_are_named_with_their_labels_and_rows_listed_twice_are_not_copies():
    ids, split = np.array(["a", "b", "c"]), np.array(["train", "train", "test"])
    digest = {"video": np.array(["1", "1", "1"])}
    rows = [row("a", "a.mp4"), row("b", "a.mp4"), row("c", "c.mp4")]
    got = leaks(ids, split, np.array([0, 0, 1]), ["x", "y"], digest, rows)
    assert [(f.kind, f.where, f.reason) for f in got] == [
        ("leak", "c (test)", "the same content as a (train), which has the label 'x', not 'y'")
    ]


def test_notes_that_say_the_same_become_one():
    note = Finding("note", "streams", "a.mp4", "2 audio streams", "audio")
    other = Finding("note", "streams", "b.mp4", "2 audio streams", "audio")
    wrong = Finding("warning", "silent", "a.mp4", "peak 0", "audio")
    assert collapsed([note, wrong, other, wrong]) == [
        Finding("note", "streams", "a.mp4", "2 audio streams (and so for 1 other file)", "audio"),
        wrong,
        wrong,
    ]


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], "Clean: nothing missing, nothing suspicious."),
        ([("error", "corrupt")], "Usable; 1 file or sample lost, 0 suspicious."),
        (
            [("error", "corrupt"), ("error", "row"), ("warning", "black")],
            "Usable; 2 files or samples lost, 1 suspicious.",
        ),
        ([("warning", "leak")], "Usable, but test figures would be too good: 1 leak between splits."),
        (
            [("warning", "leak"), ("warning", "group leak")],
            "Usable, but test figures would be too good: 2 leaks between splits.",
        ),
        ([("error", "empty class")], "Not usable: 1 of 3 classes has no sample (w)."),
    ],
)
def test_the_verdict_counts_in_plain_english(kinds, said):
    assert verdict([Finding(level, kind, "w", "r") for level, kind in kinds], 3) == said
