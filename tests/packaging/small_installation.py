"""The commands that need neither torch nor readers of media, where only packaging/laptop.txt is installed.

`make test-laptop` runs this on the Python that is given, and `make test-lowest` with the lowest versions that are declared.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
COMMANDS = [
    "diagnose a.npz --html page.html",
    "calibrate a.npz --rule temperature --force --out rule.json",
    "apply rule.json b.npz --out decided.npz",
    "report a.npz b.npz",
    "report a.npz --figures figures",
    "check a.npz --fail-if 'index > 0.9'",
    "import features.npz --head head.npz --out imported.npz",
    "diagnose features.npz",
    "doctor a.npz",
    "methods list",
]


def write_files(folder: Path) -> None:
    """Predictions of two models, features, and a head for them."""
    rng = np.random.default_rng(0)
    y, split = np.arange(120) % 3, np.repeat(["val", "test"], 60)
    parts = {m: 2 * np.eye(3)[y] + rng.normal(size=(120, 3)) for m in ("audio", "video")}
    for name in ("a", "b"):
        np.savez(folder / f"{name}.npz", labels=y, split=split, **{f"logits_{m}": x for m, x in parts.items()})
    np.savez(folder / "features.npz", label=y, split=split, **parts)
    np.savez(folder / "head.npz", weight=rng.normal(size=(3, 6)), bias=np.zeros(3))


def main() -> int:
    listed = (ROOT / "packaging" / "laptop.txt").read_text("utf-8")
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from terminal import mmbal

    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in re.findall(r"^([\w-]+)>=", listed, re.MULTILINE)
    ]
    print(f"Python {platform.python_version()}: {', '.join(versions)}")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_files(Path(folder))
        for command in COMMANDS:
            result = mmbal(*shlex.split(command))
            failed += result.exit_code != 0
            print(f"{'ok' if result.exit_code == 0 else result.output}  mmbal {command}")
        os.chdir(ROOT)
    # Python 3.10 reads annotations in its own way: the source was an option there.
    failed += "prepare [OPTIONS] [SOURCE]" not in mmbal("prepare", "--help").stdout
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
