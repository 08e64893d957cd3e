"""The half that examines models runs without torch, which takes seconds to import and gigabytes to install."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

PROGRAM = """
import sys
from mmbal.cli.app import main
sys.argv = ["mmbal", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert not {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "jinja2"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    y, split = np.arange(120) % 3, np.repeat(["calibration", "test"], 60)
    for name in ("a", "b"):
        own = {f"logits_{m}": 2 * np.eye(3)[y] + rng.normal(size=(120, 3)) for m in ("audio", "video")}
        np.savez(folder / f"{name}.npz", labels=y, split=split, **own)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "diagnose a.npz",
        "diagnose a.npz --full",
        "calibrate a.npz --test",
        "report a.npz b.npz",
        "methods list",
        "--help",
    ],
)
def test_torch_is_not_imported(folder, command):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout
