"""Another distribution brings a method and a section of the diagnosis; the program finds both by its entry points."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

import mmbal
from mmbal.data.store.store import Store
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

HERE = Path(mmbal.__file__).parents[1]

MODULE = '''
import numpy as np

from mmbal.diagnosis.section import Section
from mmbal.maths.bootstrap import SHARE, Estimate
from mmbal.methods.base import Method
from mmbal.registry import methods, sections
from mmbal.tables import Column, Table


@methods.register("patient")
class Patient(Method):
    """Joint training under another name."""


@sections.register("sure")
class SureSection(Section):
    title = "Sure samples"
    fields = {"sure": (Estimate | None, None)}

    def measure(self, e):
        p = np.exp(e.decision.fused - e.decision.fused.max(axis=1, keepdims=True))
        return {"sure": e.figures.mean("sure", p.max(axis=1) / p.sum(axis=1) > 0.9, bounds=SHARE)}

    def tables(self, d):
        return [Table.of([Column("decision", ["fused"]), Column("is sure", [d.sure])])]
'''
METADATA = "Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n"
ENTRY_POINTS = "[mmbal.method]\npatient = plug:Patient\n\n[mmbal.section]\nsure = plug:SureSection\n"

Program = Callable[..., str]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """``program("methods", "list", code=0)``: standard output of the program where the distribution `plug` is installed."""
    site = tmp_path_factory.mktemp("site")
    (site / "plug.py").write_text(MODULE)
    (site / "plug-1.0.dist-info").mkdir()
    (site / "plug-1.0.dist-info" / "METADATA").write_text(METADATA)
    (site / "plug-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    environment = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1", "COLUMNS": "120"}

    def run(*arguments: Any, code: int = 0) -> str:
        command = [sys.executable, "-m", "mmbal", *map(str, arguments)]
        done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr[-3000:]
        return done.stdout

    return run


def share_of_sure(p: Predictions) -> float:
    return float((softmax(p.fused, axis=1).max(axis=1) > 0.9).mean())


def test_the_method_is_listed_beside_the_others(program: Program):
    found = {d["name"]: d for d in json.loads(program("methods", "list", "--kind", "method", "--json"))}
    assert "joint" in found
    assert found["patient"]["summary"] == "Joint training under another name."
    assert (found["patient"]["family"], found["patient"]["status"]) == ("other", "not stated")


def test_the_section_is_in_the_document_in_the_gate_and_on_the_screen(program: Program, tmp_path: Path):
    world = GaussianWorld("abc", ["audio", "video"], [[2.0, 1.5, 1.5], [1.0, 1.5, 1.0]])
    predictions = world.sample(400, seed=0)
    predictions.save(tmp_path / "mine.npz")
    command = ["diagnose", tmp_path / "mine.npz", "--rule", "sum", "--bootstrap", 100]
    document = json.loads(program(*command, "--json"))
    expected = share_of_sure(predictions.select("test"))
    assert 0.1 < expected < 0.9
    assert document["sure"]["value"] == pytest.approx(expected)
    assert document["sure"]["low"] < expected < document["sure"]["high"]
    shown = program(*command, "--fail-if", "sure > 2")
    assert "is sure" in shown
    assert re.search(rf"fused +{expected:.2f} \[", shown)
    program(*command, "--fail-if", "sure > 0.01", code=3)


def test_a_run_of_the_method_is_diagnosed_with_the_section(program: Program, toy: Callable[..., Store], tmp_path: Path):
    """Whatever asks first for the plug-in's module, here the methods, both members are there."""
    data = ["--data", toy({"audio": 6, "video": 4}).path, "--device", "cpu", "--epochs", 1]
    trained = json.loads(program("train", *data, "--method", "patient", "--out", tmp_path / "run", "--json"))
    assert trained["runs"][0]["method"] == "patient"
    document = json.loads((tmp_path / "run" / "diagnosis.json").read_text())
    decided = Predictions.load(tmp_path / "run" / "predictions" / "test.npz")
    assert np.isclose(document["sure"]["value"], share_of_sure(decided))
