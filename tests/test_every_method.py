"""Every method and every fusion, from the command line, on real data of each kind: trained, reported and diagnosed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mmbal.cli.app import app
from mmbal.data.store.store import Store, write_view
from mmbal.errors import ConfigError, UsageError
from mmbal.methods.base import Run
from mmbal.registry import Entry, fusions, methods

SETS = {
    "digits": ["avmnist"],
    "clips": ["grid_s1/digit.csv", "--size", "24"],
    "two_features": ["features/webkb_page_link.npz"],
    "three_features": ["features/scene15_gist_phog_lbp.npz"],
    "six_features": ["multiview/handwritten_6views.mat"],
}
FEW = {"train": 48, "val": 24, "test": 32}  # rows, spread over the split


def mmbal(*arguments: Any) -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def choices() -> list[tuple[str, str]]:
    """Every method with the fusion that it asks for, and every fusion with a method that asks for what it alone gives."""
    pairs = [(e.name, e.metadata.get("fusion", "concat")) for e in methods]

    def made_for(fusion: Entry) -> str:
        gives = fusion.metadata.get("gives", set())
        return next((e.name for e in methods if e.metadata["needs"] & gives), "joint")

    return sorted({*pairs, *((made_for(f), f.name) for f in fusions)})


def training(method: str, fusion: str, data: Path, out: Path) -> list[str]:
    """The command line of an epoch; a fusion's decision rule, if it has one, is a quick one."""
    quick = ["--set", "fusion.rule=pool"] if "rule" in fusions.get(fusion).Config.model_fields else []
    choice = ["--method", method, "--fusion", fusion, *quick]
    return ["train", "--data", str(data), *choice, "--epochs", "1", "--device", "cpu", "--out", str(out)]


@pytest.fixture(scope="module", params=SETS)
def data(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rows of a set that `mmbal prepare` has read whole."""
    folder = tmp_path_factory.mktemp("stores")
    source, *options = SETS[request.param]
    file = shared_data / source
    mmbal("prepare", file if file.is_file() else source, *options, "--out", folder / "whole")
    whole = Store.open(folder / "whole")
    spread = [whole.rows(split)[:: len(whole.rows(split)) // n][:n] for split, n in FEW.items()]
    return write_view(whole, np.concatenate(spread), folder / "few").path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The number of unique classes")  # scikit-learn, of 15 classes in few rows
@pytest.mark.parametrize(("method", "fusion"), choices())
def test_it_trains_and_its_figures_are_in_the_run_and_in_the_report(
    method: str, fusion: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    logged: set[str] = set()
    log = Run.log
    monkeypatch.setattr(Run, "log", lambda run, name, value: logged.add(name) or log(run, name, value))
    run = tmp_path / "run"
    trained = mmbal(*training(method, fusion, data, run))["runs"][0]
    assert {trained["method"], trained["fusion"]} == {method, fusion}
    epoch = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["train"]
    assert set(epoch) == logged
    assert all(math.isfinite(value) for value in epoch.values())
    own = {name for name in logged if not name.startswith("loss/")}
    diagnosis = mmbal("diagnose", run, "--bootstrap", "100", "--rule", "pool")
    assert diagnosis["verdict"]
    assert diagnosis["data"]["modalities"] == sorted(Store.open(data).modalities)
    (row,) = mmbal("report", run)["rows"]
    assert row["entries"][0]["method"] == {name: epoch[name] for name in own}
    card = (run / "CARD.md").read_text()
    assert all(f"| {name} |" in card for name in own)


@pytest.mark.parametrize(("method", "fusion"), choices())
def test_one_modality_is_enough_or_refused_in_a_sentence(
    method: str, fusion: str, toy: Callable[..., Store], tmp_path: Path
):
    command = training(method, fusion, toy({"audio": 6, "video": 4}, rows=48).path, tmp_path / "run")
    result = CliRunner().invoke(app, [*command, "--set", "modalities=[audio]"])
    if result.exit_code == 0:
        return
    assert result.exit_code in (UsageError.exit_code, ConfigError.exit_code), result.output
    message, hint = (line.strip() for line in result.stderr.strip().splitlines())
    assert message.startswith("Error: ")
    assert "at least" in message
    assert hint.startswith("Use --")
    assert not (tmp_path / "run").exists()
