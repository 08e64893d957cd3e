"""The same through the commands: a figure or one sentence with its exit code, names as they are, never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from terminal import as_json, ok, refused

pytestmark = pytest.mark.counted("bad inputs")

WIDE = {"COLUMNS": "200"}


def world(classes: int, n: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    a, b = (rng.normal(size=(n, classes)) + k * np.eye(classes)[labels] for k in (3, 2))
    return labels, a, b


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("rule", ["temperature", "vector"])
def test_calibrate_with_no_or_one_sample_of_a_class(tmp_path, kept, rule):
    labels, a, b = world(4)
    split = np.where(np.arange(len(labels)) % 2, "val", "test")
    rare = np.flatnonzero(labels == 3)
    split[rare] = "test"
    split[rare[:kept]] = "val"
    np.savez(tmp_path / "p.npz", labels=labels, split=split, logits_a=a, logits_b=b)
    told = ok(
        "calibrate", tmp_path / "p.npz", "--rule", rule, "--folds", 2, "--out", tmp_path / "r.json", "--force", env=WIDE
    )
    told = " ".join(told.split())
    assert ("no sample of 1 class ('3')" if not kept else "fewer than 5 samples of 1 class ('3')") in told
    stored = json.loads((tmp_path / "r.json").read_text())
    assert "NaN" not in json.dumps(stored)
    assert "Infinity" not in json.dumps(stored)


@pytest.mark.long
def test_a_thousand_classes(tmp_path):
    labels, a, b = world(1000, 1500)
    split = np.where(np.arange(1500) % 2, "val", "test")
    np.savez(tmp_path / "p.npz", labels=labels, split=split, logits_a=a, logits_b=b)
    found = as_json(
        "calibrate", tmp_path / "p.npz", "--rule", "temperature", "--folds", 2, "--out", tmp_path / "r.json", "--force"
    )
    assert found
    assert (tmp_path / "r.json").is_file()


NAMES = [
    "😀",
    "[red]x",
    "A",
    "a",
    "CON",
    "שלום",
    "x&y<b>",
    "$m_1$",
    "a,b",
    'q"uote',
    "e\u0301",
    "-dash",
    "#sharp",
    "=1+1",
    "..x",
]


def pictures(folder: Path, names: list[str]) -> None:
    for k, name in enumerate(names):
        for j in range(4):
            place = folder / name / f"{name} {j}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8, 3), 10 + 3 * k + 60 * j, np.uint8)).save(place)


def test_names_of_classes_and_files_come_through_as_they_are(tmp_path):
    """A folder that begins with a dot is hidden; an accent of two characters becomes one."""
    pictures(tmp_path / "clips", NAMES)
    ok("prepare", "init", tmp_path / "clips")
    found = as_json(
        "prepare", tmp_path / "clips" / "manifest.csv", "--out", tmp_path / "store", "--size", 16, "--workers", 1
    )
    expected = {name for name in NAMES if not name.startswith(".")} - {"e\u0301"} | {"\u00e9"}
    assert set(found["classes"]) == expected
    assert [f["kind"] for f in found["findings"] if f["level"] != "note"] == []
    shown = ok("doctor", tmp_path / "store", env=WIDE)
    assert f"{4 * len(expected)} samples of {len(expected)} classes" in shown


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_name_that_is_not_utf_8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/clips/caf\xe9"
    try:
        os.makedirs(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(os.fsdecode(folder + b"/a.png"))
    assert r"caf\udce9/a.png is not UTF-8" in refused(4, "prepare", "init", tmp_path / "clips")
    assert r"caf\udce9/a.png: a picture" in ok("doctor", os.fsdecode(folder + b"/a.png"), env=WIDE)
    assert as_json("doctor", os.fsdecode(folder + b"/a.png"))["files"][0]["path"].endswith("caf\udce9/a.png")


def test_names_that_would_steer_the_terminal_are_shown_as_codes(tmp_path):
    labels, a, b = world(3)
    names = ["\x1b[2Jred", "\u202eabc", "[/b]"]
    split = np.where(np.arange(len(labels)) % 2, "val", "test")
    np.savez(tmp_path / "p.npz", labels=labels, classes=names, split=split, **{"logits_\x1b[31m": a, "logits_b": b})
    told = ok("calibrate", tmp_path / "p.npz", "--rule", "temperature", "--folds", 2, env=WIDE)
    assert not {"\x1b", "\u202e"} & set(told)
    for name in (r"\x1b[2Jred", r"\u202eabc", "[/b]", r"\x1b[31m"):
        assert name in told
    (tmp_path / "d.csv").write_text("path,label\n" + "\x1b[31m.wav,x\n")
    assert "\x1b" not in refused(4, "prepare", tmp_path / "d.csv", "--out", tmp_path / "s")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("epochs: 3\nepochs: 5\n", "the key 'epochs' comes twice"),
        ("seed: 0x" + "f" * 2000, "too many digits"),
        ("epochs: [" * 2000, "nested too deeply"),
        ("#" * 2_000_000, "more than 1048576 bytes"),
        ("epochs:\n\t- 1\n", "line 2"),
        ("when: 2021-99-99\n", "month"),
    ],
)
def test_configurations(tmp_path, text, told):
    (tmp_path / "c.yaml").write_text(text)
    assert told in refused(5, "train", "--config", tmp_path / "c.yaml", "--dry-run")
    assert told in refused(5, "check", "--policy", tmp_path / "c.yaml", tmp_path / "none.npz")
