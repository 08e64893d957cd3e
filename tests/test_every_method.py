"""Every method and every fusion, from the command line, on data of each kind: trained, diagnosed and reported.

The digits are embedded, and a world of Gaussian features is drawn; the other sets skip without the shared real data. Sets of
2, 3 and 6 modalities are among the slow tests; three further ones, of 2 and 3, are left to the long ones. Pages are
drawn of the runs on the digits: a page knows what was measured, and not which set it was measured on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from terminal import as_json, mmbal

from mmbal.data.store.store import Store, write_view
from mmbal.errors import ConfigError
from mmbal.methods.base import Run
from mmbal.predictions.synthetic import GaussianWorld
from mmbal.registry import Entry, fusions, methods

SHARED = {
    "clips": ["grid_s1/digit.csv", "--size", "24"],
    "two_features": ["features/webkb_page_link.npz"],
    "three_features": ["features/scene15_gist_phog_lbp.npz"],
    "six_features": ["multiview/handwritten_6views.mat"],
}
WORLD = GaussianWorld(
    "abcd",
    ["audio", "text", "video"],
    [[2.0, 1.5, 1.0, 1.5], [1.0, 1.0, 1.5, 1.0], [0.5, 1.0, 0.5, 1.0]],
    missing=[0.1, 0.2, 0.0],
    width=8,
)
FEW = {"train": 48, "val": 24, "test": 32}  # rows, spread over the split


def choices() -> list[tuple[str, str]]:
    """Every method with the fusion that it asks for, and every fusion with a method that asks for what it alone gives."""
    pairs = [(e.name, e.about.fusion or "concat") for e in methods]

    def made_for(fusion: Entry) -> str:
        gives = set(fusion.about.gives)
        return next((e.name for e in methods if set(e.about.needs) & gives), "joint")

    return sorted({*pairs, *((made_for(f), f.name) for f in fusions)})


def training(method: str, fusion: str, data: Path, out: Path) -> list[str]:
    """The command line of an epoch; a fusion's decision rule, if it has one, is a quick one."""
    quick = ["--set", "fusion.rule=pool"] if "rule" in fusions.get(fusion).Config.model_fields else []
    choice = ["--method", method, "--fusion", fusion, *quick]
    return ["train", "--data", str(data), *choice, "--epochs", "1", "--device", "cpu", "--out", str(out)]


SETS = [
    "digits",
    "gaussian",
    "six_features",
    *(pytest.param(name, marks=pytest.mark.long) for name in SHARED if name != "six_features"),
]


@pytest.fixture(scope="module", params=SETS)
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rows of a set that `mmbal prepare` has read whole."""
    folder = tmp_path_factory.mktemp("stores") / request.param
    folder.mkdir()
    options: list[str] = []
    if request.param == "digits":
        source: str | Path = "avmnist"
    elif request.param == "gaussian":
        source = folder / "gaussian.npz"
        np.savez(source, **WORLD.features(240, seed=0))
    else:
        file, *options = SHARED[request.param]
        source = request.getfixturevalue("shared_data") / file
    as_json("prepare", source, *options, "--out", folder / "whole")
    whole = Store.open(folder / "whole")
    spread = [whole.rows(split)[:: len(whole.rows(split)) // n][:n] for split, n in FEW.items()]
    return write_view(whole, np.concatenate(spread), folder / "few").path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The number of unique classes")  # scikit-learn, of 15 classes in few rows
@pytest.mark.parametrize(("method", "fusion"), choices())
def test_it_trains_and_its_figures_are_in_the_run_the_diagnosis_and_the_pages(
    method: str, fusion: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    logged: set[str] = set()
    log = Run.log
    monkeypatch.setattr(Run, "log", lambda run, name, value: logged.add(name) or log(run, name, value))
    run, pages = tmp_path / "run", data.parent.name == "digits"
    trained = as_json(*training(method, fusion, data, run), "--pages" if pages else "--no-pages")["runs"][0]
    assert {trained["method"], trained["fusion"]} == {method, fusion}
    epoch = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["train"]
    assert set(epoch) == logged
    assert all(math.isfinite(value) for value in epoch.values())
    own = {name for name in logged if not name.startswith("loss/")}
    diagnosis = as_json("diagnose", run, *([] if pages else ["--bootstrap", 100]))  # of a page, the kept one
    assert diagnosis["verdict"]
    assert diagnosis["data"]["modalities"] == sorted(Store.open(data).modalities)
    assert (run / "report.html").is_file() == pages
    if not pages:
        return
    (row,) = as_json("report", run)["rows"]
    assert row["entries"][0]["method"] == {name: epoch[name] for name in own}
    card = (run / "CARD.md").read_text()
    assert all(f"| {name} |" in card for name in own)


@pytest.mark.parametrize(("method", "fusion"), choices())
def test_one_modality_is_refused_in_a_sentence_where_the_method_or_the_fusion_needs_two(
    method: str, fusion: str, toy: Callable[..., Store], tmp_path: Path
):
    command = training(method, fusion, toy({"audio": 6, "video": 4}, rows=48).path, tmp_path / "run")
    result = mmbal(*command, "--no-pages", "--set", "modalities=[audio]")
    needed = {f"method '{method}'": methods.get(method).at_least, f"fusion '{fusion}'": fusions.get(fusion).at_least}
    refusing = [f"{part} needs at least {n} modalities" for part, n in needed.items() if n > 1]
    assert result.exit_code == (ConfigError.exit_code if refusing else 0), result.output
    assert (tmp_path / "run").exists() != bool(refusing)
    if refusing:
        message, hint, page = (line.strip() for line in result.stderr.strip().splitlines())
        assert any(message == f"Error: The {reason}; the model has 1." for reason in refusing), message
        assert hint.startswith("Use --")
        assert page.startswith("See docs/")
