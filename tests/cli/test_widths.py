"""Every table of every command fits the terminal: no figure is broken, and what has no room is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from terminal import mmbal

from mmbal.cli import console
from mmbal.predictions.synthetic import GaussianWorld
from mmbal.tables import Column, Table
from mmbal.text import SHARE

WIDTHS = (60, 80, 100, 120, 200)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Predictions of two models of three modalities, with groups and features, under long names."""
    folder = tmp_path_factory.mktemp("a-folder-with-a-rather-long-name")
    names = [f"a class with a long name, number {k}" for k in range(4)]
    world = GaussianWorld(names, ["spoken words", "face", "gait"], [[1.5] * 4, [1.0] * 4, [0.3] * 4], [3.0, 1.0, 1.0])
    found = {}
    for seed, name in enumerate(("a-model-that-was-trained-jointly", "another-one")):
        found[name] = folder / f"{name}.npz"
        world.sample(240, seed=seed).save(found[name])
    return found


@pytest.fixture(scope="module")
def tables(files: dict[str, Path]) -> dict[str, list[Table]]:
    """What each command prints, by command."""
    first, second = files.values()
    few = ("--bootstrap", 100)
    lines = {
        "diagnose": ("diagnose", first, *few),
        "diagnose --full": ("diagnose", first, "--full", *few),
        "diagnose A B": ("diagnose", first, second, *few),
        "calibrate": ("calibrate", first, "--test"),
        "report": ("report", first, second, *few),
        "check": ("check", first, second, "--fail-if", "index > 0.9", "--fail-if", "accuracy.fused < 0.99", *few),
        "doctor": ("doctor", first),
        "methods list": ("methods", "list"),
        "methods show": ("methods", "show", "ogm_ge"),
        "prepare list": ("prepare", "list"),
        "report --checklist": ("report", "--checklist"),
    }
    found: dict[str, list[Table]] = {}
    with pytest.MonkeyPatch.context() as patched:
        for name, line in lines.items():
            found[name] = []
            patched.setattr(console, "show", lambda *given, kept=found[name]: kept.extend(given))
            result = mmbal(*line)
            assert result.exit_code in (0, 3, 6), (name, result.output)
            assert found[name], name
    return found


def shown(table: Table, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of stdout and of stderr."""
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    console.show(table)
    read = capsys.readouterr()
    return [read.out, read.err]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_table_is_wider_than_the_terminal_and_no_figure_is_broken(tables, width, monkeypatch, capsys):
    for command, found in tables.items():
        for table in found:
            out, err = shown(table, width, monkeypatch, capsys)
            about = f"{command} at {width}: {table.title or table.head}\n{out}"
            lines = out.splitlines()
            assert max(map(cell_len, lines)) <= width, about
            fitted = table.fitting(width, cell_len)
            whole = [c for k, c in enumerate(fitted.table.columns) if not c.wrap]
            for column in whole:
                for text in filter(None, map(str.strip, column.texts(fitted.intervals))):
                    assert any(text in line for line in lines), f"'{text}' is broken. {about}"
            for name in [*fitted.dropped, *([] if fitted.intervals else ["intervals"])]:
                assert name in err, about


def test_the_most_important_columns_are_the_last_to_go(tables, monkeypatch, capsys):
    (table,) = tables["report"]
    out, err = shown(table, 80, monkeypatch, capsys)
    for word in ("model", "accuracy", "imbalance", "decision"):
        assert word in out.split()
    assert "NLL" in err
    assert "NLL" not in out
    whole, *_ = tables["diagnose"]
    out, err = shown(whole, 60, monkeypatch, capsys)
    assert "contribution" in out.split()
    assert "intervals" in err


def test_a_width_that_is_asked_for_counts_in_a_pipe(files, monkeypatch):
    first = next(iter(files.values()))
    wide = mmbal("report", first, "--bootstrap", 100, env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert "last" not in wide.stderr
    assert "Not shown" not in wide.stderr
    assert "\x1b[" not in wide.stdout + wide.stderr
    assert max(map(len, wide.stdout.splitlines())) > 120


@pytest.mark.parametrize("seed", range(20))
def test_any_table_fits_as_far_as_its_indispensable_columns_do(seed, monkeypatch, capsys):
    rng = np.random.default_rng(seed)
    columns = [Column("model", ["a name of some length", "b"], wrap=bool(rng.integers(2)))]
    for k in range(rng.integers(1, 9)):
        cells = [float(x) for x in rng.random(2)]
        columns.append(Column(f"figure {k}", cells, SHARE, drop=int(rng.integers(1, 5)), bar=int(rng.integers(2)) * 8))
    table = Table.of(columns)
    for width in WIDTHS:
        out, _ = shown(table, width, monkeypatch, capsys)
        assert max(map(cell_len, out.splitlines())) <= width
