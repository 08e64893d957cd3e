"""Speakers in file names: what people's data sets call their files."""

from itertools import product

import pytest

from mmbal.data.preparation.scan import write_manifest
from mmbal.data.preparation.speakers import speakers


def named(pattern: str, people, classes=("a", "b", "c", "d"), takes=range(3)):
    """Names and classes of a set in which everyone has every class."""
    found = list(product(people, classes, takes))
    return [pattern.format(person=p, label=c, take=t) for p, c, t in found], [c for _, c, _ in found]


@pytest.mark.parametrize(
    ("pattern", "people"),
    [
        ("s{person}_{label}{take}", ["1", "2", "3"]),  # GRID with the speaker in front
        ("1{person}_DFA_{label}_{take}", ["001", "002", "003", "091"]),  # CREMA-D
        ("{label}_{person}_{take}", ["jackson", "lucas", "nicolas"]),  # FSDD
        ("actor-{person}-{take}", ["01", "02", "03"]),
        ("{person}/{take}", ["Anna", "Ben", "Chris"]),  # folders of speakers below the class
    ],
)
def test_speakers_are_found(pattern, people):
    names, labels = named(pattern, people)
    found = speakers(names, labels)
    assert found is not None
    assert len(set(found)) == len(people)
    assert all(value.endswith(p) for value, p in zip(found, [p for p in people for _ in range(12)], strict=True))


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["bbaf2n", "bbal7s", "brbk4n", "lgaz3a"] * 3, ["x", "y"] * 6),  # one word: no place for a speaker
        (
            [f"img_{k:03d}" for k in range(8)] * 4,
            [c for c in "abcd" for _ in range(8)],
        ),  # a running number in each class
        ([f"s{k}_x" for k in range(12)], ["a", "b"] * 6),  # everyone has one sample
        ([f"{c}_long_{k}" for c in ("cat", "dog", "cow") for k in range(9)], ["cat"] * 9 + ["dog"] * 9 + ["cow"] * 9),
        (["s1_a", "s2", "s3_a"] * 4, ["a", "b"] * 6),  # names of different forms
        ([], []),
    ],
)
def test_what_is_no_speaker(names, labels):
    assert speakers(names, labels) is None


def test_the_manifest_has_them_as_groups(tmp_path):
    for label, person, take in product(("zero", "one"), ("jackson", "lucas", "theo"), range(2)):
        file = tmp_path / "set" / label / f"{label}_{person}_{take}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    written = write_manifest(tmp_path / "set")
    assert written.samples == 12
    assert written.speakers == ("jackson", "lucas", "theo")
    lines = written.path.read_text().splitlines()
    assert lines[0] == "audio,label,split,group"
    assert lines[1] == "one/one_jackson_0.wav,one,,jackson"
