"""What real processes print into legacy encodings and closed pipes, and names that mean something to Rich."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from terminal import ok, refused

import mmbal
from mmbal.cli.streams import CLOSED_PIPE

HERE = Path(mmbal.__file__).parents[1]  # the mmbal that is tested, also where another one is installed
NAMES = ["[bold]no[/bold]", "a:b", "été ▶ é", "[/x]"]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 4
    z = rng.normal(size=(2, 80, 4)) + 2 * np.eye(4)[labels]
    path = tmp_path_factory.mktemp("streams") / "p.npz"
    np.savez(path, labels=labels, classes=NAMES, **{"logits_[red]": z[0], "logits_b [c]": z[1]})
    return path


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "mmbal", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        capture_output=True,
        timeout=120,
        cwd=HERE,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "encoding"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, "cp1252"),
        ({"PYTHONIOENCODING": "ascii"}, "ascii"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, "ascii"),
        ({"PYTHONIOENCODING": "utf-8"}, "utf-8"),
    ],
)
def test_every_encoding_takes_what_is_printed(file, environment, encoding):
    done = run("diagnose", file, "--rule", "sum", "--bootstrap", 100, **environment)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert "[bold]no[/bold]" in text, "names are printed as they are"
    assert "[/x]" in text
    shown = {"utf-8": "été ▶ é", "cp1252": "été > é", "ascii": "\\xe9t\\xe9 > \\xe9"}[encoding]
    assert shown in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_loses_no_character_in_any_encoding(file, encoding):
    done = run("diagnose", file, "--rule", "sum", "--bootstrap", 100, "--json", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout.decode(encoding))["data"]["classes"]) == NAMES


@pytest.mark.parametrize("arguments", [["--help"], ["methods", "list"], ["methods", "list", "--json"]])
def test_a_reader_that_has_gone_ends_the_command_without_a_word(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "mmbal", *arguments],
            stdout=stream,
            stderr=subprocess.PIPE,
            timeout=120,
            cwd=HERE,
            check=False,
        )
    assert done.returncode == CLOSED_PIPE
    assert done.stderr == b""


def test_a_gate_is_not_passed_because_nobody_read_the_output(file):
    command = f'"{sys.executable}" -m mmbal diagnose "{file}" --rule sum --bootstrap 100 --fail-if "index >= 0" | true'
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, timeout=120, cwd=HERE, check=False
    )
    assert done.returncode in (CLOSED_PIPE, 3)
    assert b"Traceback" not in done.stderr
    assert b"Internal error" not in done.stderr


def test_names_that_mean_something_to_rich_are_printed_as_they_are(file, tmp_path):
    for arguments in (["diagnose", file, "--rule", "sum", "--bootstrap", 100, "--full"],
                      ["calibrate", file, "--split", "test", "--folds", 2, "--out", tmp_path / "[b]r.json"],
                      ["doctor", file]):  # fmt: skip
        assert "[red]" in ok(*arguments, env={"COLUMNS": "200"}), arguments
    assert "[/x]" in refused(2, "diagnose", tmp_path / "[/x]")
