"""What is installed: the wheel, the small installation without torch, and lists of dependencies that agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmbal.errors import NOT_IN_THE_SMALL_INSTALLATION

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "soxr-python": "soxr"}
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Absent())
import shlex
from terminal import mmbal
for line in sys.stdin:
    result = mmbal(*shlex.split(line))
    print("==", result.exit_code, " ".join(result.stderr.split()))
"""


def dependencies() -> list[str]:
    listed = re.search(r"^dependencies = \[(.*?)^\]", PROJECT, re.MULTILINE | re.DOTALL)
    assert listed is not None
    return re.findall(r'"([^"]+)"', listed[1])


def name_of(requirement: str) -> str:
    return re.split(r"[ ><=]", requirement)[0]


def test_the_small_installation_is_all_but_training_and_media():
    lines = (ROOT / "packaging" / "laptop.txt").read_text("utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert listed == [d for d in dependencies() if name_of(d) not in NOT_IN_THE_SMALL_INSTALLATION]
    assert {name_of(d) for d in dependencies()} > NOT_IN_THE_SMALL_INSTALLATION


def test_the_conda_recipe_has_the_same_dependencies():
    recipe = (ROOT / "packaging" / "conda" / "meta.yaml").read_text("utf-8")
    run = re.search(r"^  run:\n((?:    - .*\n)+)", recipe, re.MULTILINE)
    assert run is not None
    listed = [line.removeprefix("    - ") for line in run[1].splitlines()]
    spelled = [re.sub(r"^\S+", lambda m: CONDA_NAMES.get(m[0], m[0]), line).replace(" ", "") for line in listed]
    python = re.search(r'requires-python = "(.+)"', PROJECT)
    assert python is not None
    assert spelled == [f"python{python[1]}", *dependencies()]
    command, entry = re.search(r'^mmbal = "(.+)"$', PROJECT, re.MULTILINE), re.search(r"- mmbal = (.+)", recipe)
    assert command is not None
    assert entry is not None
    assert command[1] == entry[1]


def test_the_image_has_no_list_of_its_own():
    """It takes torch from the index of CPU builds, and all else from pyproject.toml."""
    text = (ROOT / "packaging" / "Dockerfile").read_text("utf-8")
    named = re.findall(r"pip install (.*?)(?: \\)?$", text, re.MULTILINE)
    words = [word for line in named for word in line.split() if not word.startswith(("-", "http"))]
    assert words == ["torch", "torchvision", "torchaudio", "."]


def test_the_image_is_built_from_what_the_package_is_built_from():
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    files = {"README.md", "LICENSE", "NOTICE", "pyproject.toml"}
    assert "*" in lines
    assert kept == files | {"mmbal"}
    assert all(name in PROJECT for name in files - {"pyproject.toml"})


def test_the_classifiers_have_the_versions_of_python():
    assert re.findall(r"Python :: (3\.\d+)", PROJECT) == ["3.10", "3.11", "3.12", "3.13"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y, split = np.arange(120) % 3, np.repeat(["val", "test"], 60)
    parts = {m: 2 * np.eye(3)[y] + rng.normal(size=(120, 3)) for m in ("audio", "video")}
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", labels=y, split=split, **{f"logits_{m}": x for m, x in parts.items()})
    np.savez(tmp_path / "features.npz", label=y, split=split, **parts)
    np.savez(tmp_path / "head.npz", weight=rng.normal(size=(3, 6)), bias=np.zeros(3))
    return tmp_path


@pytest.mark.slow
def test_the_half_that_examines_runs_without_torch_and_the_other_half_says_what_to_install(files: Path):
    runs = [
        "diagnose a.npz --html page.html",
        "calibrate a.npz",
        "report a.npz b.npz",
        "check a.npz --fail-if 'index > 0.9'",
        "import features.npz --head head.npz --out imported.npz",
        "diagnose features.npz",
        "doctor a.npz",
        "methods list",
    ]
    needs = ["train", "pretrain", "prepare avmnist", "predict RUN clip.mp4", "try features.npz", "sweep plan.yaml"]
    needs += ["methods show ogm_ge", "import model.pth"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    program = WITHOUT.format(names=set(NOT_IN_THE_SMALL_INSTALLATION))
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="\n".join(runs + needs),
        cwd=files,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = done.stdout.splitlines()
    assert len(told) == len(runs + needs)
    failed = [(command, line) for command, line in zip(runs, told, strict=False) if not line.startswith("== 0")]
    assert not failed
    for command, line in zip(needs, told[len(runs) :], strict=True):
        assert re.match(r"== 2 Error: This command needs the package '\w+', which is not installed\.", line), (
            command,
            line,
        )
        assert "pip install mmbal" in line


@pytest.mark.slow
def test_the_wheel_is_small_and_whole_and_works_from_elsewhere(files: Path):
    pytest.importorskip("hatchling", reason="the wheel is built by hatchling (extra 'dev')")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", files / "dist"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (files / "dist").glob("*.whl")
    assert wheel.stat().st_size < 10e6
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        archive.extractall(files / "unpacked")
    folders = ("embedded", "report/templates", "methods", "decision/rules", "data/datasets")
    ours = {str(p.relative_to(ROOT)) for f in folders for p in (ROOT / "mmbal" / f).glob("*.*") if p.suffix != ".pyc"}
    assert ours <= inside, ours - inside
    assert {"mmbal/py.typed"} <= inside
    assert {name.rsplit("/", 1)[-1] for name in inside} >= {"LICENSE", "NOTICE", "entry_points.txt"}
    assert not [name for name in inside if name.startswith(("tests", "docs"))]
    where = [sys.executable, "-c", "import mmbal, sys; print(mmbal.__file__)"]
    page = [sys.executable, "-m", "mmbal", "report", "a.npz", "--html", "page.html"]
    environment = os.environ | {"PYTHONPATH": str(files / "unpacked"), "OMP_NUM_THREADS": "1"}
    for command, shown in ((where, str(files / "unpacked")), (page, "page.html")):
        done = subprocess.run(command, cwd=files, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert shown in done.stdout + done.stderr
