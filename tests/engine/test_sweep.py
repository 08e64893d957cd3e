"""A study: expanded from YAML, checked before it runs, resumed where it stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmbal.engine.results import Results
from mmbal.engine.study import Part, jobs, merge, read_study
from mmbal.engine.sweep import sweep
from mmbal.errors import ConfigError, Interrupted, MmbalError, UsageError
from mmbal.training import sweep as with_pages


@pytest.fixture
def study(toy, tmp_path: Path) -> Path:
    values = {
        "seeds": [0, 1],
        "base": {"epochs": 2, "batch_size": 16, "device": "cpu", "optimiser": {"lr": 0.05}},
        "data": {"toy": {"data": str(toy({"audio": 6, "video": 4}).path), "optimiser": {"momentum": 0.5}}},
        "variants": {"joint": {}, "half": {"method": {"name": "ogm", "alpha": 0.5}, "fusion": {"name": "sum"}}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return tmp_path / "study.yaml"


def test_every_variant_on_every_set_with_every_seed(study: Path, tmp_path: Path):
    planned = list(jobs(read_study(study), tmp_path / "out"))
    assert [(j.variant, j.config.seed) for j in planned] == [("joint", 0), ("half", 0), ("joint", 1), ("half", 1)]
    assert planned[1].config.method.options == {"alpha": 0.5}
    assert (planned[1].config.optimiser.lr, planned[1].config.optimiser.momentum) == (0.05, 0.5)


def test_a_stopped_study_goes_on_and_runs_nothing_twice(study: Path, tmp_path: Path):
    lines: list[str] = []

    def stop(steps: int, message: str) -> None:
        if message:
            lines.append(message)
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="what is trained is saved"):
        sweep(read_study(study), tmp_path / "out", report=stop)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("toy/*/summary.json")}
    assert len(before) == 2
    folders = sweep(read_study(study), tmp_path / "out")
    assert [f.name for f in folders["toy"]] == ["joint-s0", "joint-s1", "half-s0", "half-s1"]
    assert all((f / "summary.json").is_file() for f in folders["toy"])
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_each_run_has_its_pages_unless_they_are_declined(study: Path, tmp_path: Path):
    plan = read_study(study).model_copy(update={"seeds": (0,)})
    (plain, _) = with_pages(plan, tmp_path / "plain", pages=False)["toy"]
    (paged, _) = with_pages(plan, tmp_path / "paged")["toy"]
    assert not {"report.html", "diagnosis.json"} & {file.name for file in plain.iterdir()}
    assert {"report.html", "diagnosis.json"} <= {file.name for file in paged.iterdir()}


def test_a_study_in_parts(study: Path, tmp_path: Path):
    plan = read_study(study)
    two = plan.model_copy(update={"data": {**plan.data, "more": plan.data["toy"]}})
    assert list(two.only([]).data) == ["toy", "more"]
    assert list(two.only(["more"]).data) == ["more"]
    with pytest.raises(UsageError, match="no data set 'les'"):
        two.only(["les"])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"method": {"name": "ogm", "alpha": -1}}, "alpha"),
        ({"method": {"name": "ogm_gee"}}, "ogm_ge"),
        ({"method": {"name": "aug", "weights": {"smell": 1}}}, "smell"),
        ({"method": {"name": "ogm"}, "modalities": ["audio"]}, "at least 2"),
        ({"method": {"name": "mods"}, "fusion": {"name": "concat"}}, "needs a fusion"),
        ({"encoder": {"audio": {"name": "cnn"}}}, "can't take features"),
        ({"encoders_from": "nowhere"}, "nowhere"),
        ({"record": ["tails"]}, "heavy_tails"),
        ({"device": "cuda:77"}, "cuda:77"),
    ],
)
def test_a_variant_that_can_not_be_trained_stops_a_study_before_anything_runs(
    bad: dict[str, Any], said: str, study: Path, tmp_path: Path
):
    values = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(values | {"variants": {"joint": {}, "bad": bad}}, sort_keys=False))
    with pytest.raises(MmbalError) as caught:
        sweep(read_study(study), tmp_path / "out")
    assert caught.value.message.startswith("toy, bad: ")
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert not (tmp_path / "out").exists()


def test_a_wrong_key_stops_a_study_before_anything_runs(study: Path, tmp_path: Path):
    values = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(values | {"variants": {"joint": {}, "bad": {"optimiser": {"lrr": 1}}}}))
    with pytest.raises(ConfigError, match="lrr"):
        sweep(read_study(study), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    study.write_text(yaml.safe_dump(values | {"data": {"gone": {"data": "nowhere"}}}))
    with pytest.raises(UsageError, match="nowhere"):
        sweep(read_study(study), tmp_path / "out")


def test_another_configuration_in_the_folder_is_not_taken_for_this_one(study: Path, tmp_path: Path):
    sweep(read_study(study), tmp_path / "out")
    values = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(values | {"base": values["base"] | {"epochs": 3}}))
    with pytest.raises(ConfigError, match="another configuration"):
        sweep(read_study(study), tmp_path / "out")


def test_merging_by_hand():
    base = {"a": {"x": 1, "y": 2}, "method": {"name": "joint"}}
    assert merge(base, {"a": {"y": 3}, "method": {"name": "ogm", "alpha": 1}}) == {
        "a": {"x": 1, "y": 3},
        "method": {"name": "ogm", "alpha": 1},
    }
    # Options of one choice are none of another's.
    assert merge({"m": {"name": "ogm", "alpha": 1}}, {"m": {"name": "joint"}}) == {"m": {"name": "joint"}}


def test_parts_by_hand():
    assert [Part(k, 3).take("abcdefgh") for k in (1, 2, 3)] == [["a", "d", "g"], ["b", "e", "h"], ["c", "f"]]
    assert Part.of("2/3") == Part(2, 3)
    for text in ("0/2", "3/2", "2", "a/b", "1/", "-1/2"):
        with pytest.raises(UsageError, match="no part"):
            Part.of(text)


def test_the_parts_of_a_search_keep_a_variant_together(study: Path, tmp_path: Path):
    values = yaml.safe_load(study.read_text())
    values |= {"search": {"trials": 2, "own": False}, "seeds": [0], "base": values["base"] | {"epochs": 1}}
    values["variants"] = {"joint": {}, "late": {"method": {"name": "late_fusion"}, "fusion": {"name": "sum"}}}
    study.write_text(yaml.safe_dump(values, sort_keys=False))
    out = tmp_path / "out"
    for number, variant in ((1, "joint"), (2, "late")):
        assert [f.name for f in sweep(read_study(study), out, part=Part(number, 2))["toy"]] == [f"{variant}-s0"]
    kinds = sorted((r.variant, r.kind, r.number) for r in Results(out / "results.jsonl").read())
    assert kinds == sorted((v, k, n) for v in ("joint", "late") for k, n in (("run", 0), ("trial", 0), ("trial", 1)))


@pytest.mark.slow
def test_the_jobs_of_a_slurm_array_share_a_folder(study: Path, tmp_path: Path):
    root = Path(__file__).parents[2]
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "mmbal"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmbal "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "SLURM_ARRAY_TASK_MIN": "4",
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }
    command = ["bash", str(root / "examples" / "slurm" / "sweep.sbatch"), str(study), "together"]
    working = [
        subprocess.Popen(command, cwd=tmp_path, env=environment | {"SLURM_ARRAY_TASK_ID": number})
        for number in ("4", "5")
    ]
    assert [process.wait(timeout=240) for process in working] == [0, 0]
    together, alone = tmp_path / "together", tmp_path / "alone"
    lines = (together / "results.jsonl").read_text().splitlines()
    assert len(lines) == 4
    sweep(read_study(study), together)  # nothing is left to do
    assert (together / "results.jsonl").read_text().splitlines() == lines
    sweep(read_study(study), alone)
    found = {p.relative_to(alone) for p in alone.rglob("predictions/*.npz")}
    assert len(found) == 16  # of four runs: two splits, at the best and at the last epoch
    assert all((together / p).read_bytes() == (alone / p).read_bytes() for p in found)
