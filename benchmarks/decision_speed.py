"""How long decision rules, `calibrate` and `diagnose` take, and how long the commands take to start.

    python benchmarks/decision_speed.py [--only NAME...] [--json]

CPU seconds (user + system, all threads), so that a busy machine does not blur them. Two yardsticks of the same run stand
beside them, since seconds differ between machines: scikit-learn's sigmoid calibration of two modalities of 10,000 rows and
100 classes, and a bare `import numpy` for the commands, which run in a process of their own. `peak` is by how much the
memory of the process grew at most beyond what it held before, in MiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from mmbal.decision import calibrate, fit_rule
from mmbal.diagnosis import diagnose
from mmbal.predictions.format import Predictions
from mmbal.predictions.humans import human_votes

YARDSTICK, START = "scikit-learn sigmoid, 10,000 x 100 x 2", "import numpy"


class Fixed(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision function is its input."""

    def __init__(self, classes: int = 2) -> None:
        self.classes = classes
        self.classes_ = np.arange(classes)

    def fit(self, inputs: np.ndarray, labels: np.ndarray) -> Fixed:
        return self

    def decision_function(self, inputs: np.ndarray) -> np.ndarray:
        return inputs

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return inputs.argmax(axis=1)


def votes(n: int, classes: int, modalities: int) -> Predictions:
    """Noisy, over-confident votes for the true class."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % classes)
    logits = {
        f"logits_m{k}": (1 + k) * (3 * np.eye(classes)[labels] / (1 + 0.3 * k) + 1.2 * rng.normal(size=(n, classes)))
        for k in range(modalities)
    }
    return Predictions.from_arrays({"labels": labels, **logits})


def split(data: Predictions, name: str) -> Predictions:
    """The rows under the name of one split, with the sum of the logits as the decision."""
    return replace(data, split=np.full(len(data), name), fused=sum(data.logits.values()))


def sigmoid(data: Predictions) -> None:
    """scikit-learn's sigmoid calibration of every modality."""
    for logits in data.logits.values():
        CalibratedClassifierCV(FrozenEstimator(Fixed(logits.shape[1])), method="sigmoid").fit(logits, data.labels)


def command(*arguments: str) -> Callable[[], Any]:
    """The program in a process of its own."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def jobs(folder: Path) -> dict[str, Callable[[], Any]]:
    """What is measured, by name; inputs are made when a job is first asked for."""
    small, file = votes(200, 6, 2), str(folder / "small.npz")
    split(small, "test").save(file)
    held = folder / "held.npz"
    split(small, "calibration").save(held)
    wide, three = votes(10_000, 100, 2), votes(10_000, 100, 3)
    few, long = split(votes(700, 6, 2), "test"), split(votes(100_000, 10, 2), "test")
    return {
        YARDSTICK: lambda: sigmoid(wide),
        "adaptive, 10,000 x 100 x 2": lambda: fit_rule(wide, "adaptive"),
        "matrix, 10,000 x 100 x 2": lambda: fit_rule(wide, "matrix"),
        "calibrate, human votes, 3,917 x 6 x 2": lambda: calibrate(human_votes()),
        "calibrate, 10,000 x 100 x 3": lambda: calibrate(split(three, "calibration")),
        "diagnose, 700 x 6 x 2": lambda: diagnose(few),
        "diagnose, 10,000 x 100 x 3": lambda: diagnose(split(three, "test")),
        "diagnose, 100,000 x 10 x 2": lambda: diagnose(long),
        START: command("-c", "import numpy"),
        "mmbal --help": command("-m", "mmbal", "--help"),
        "mmbal methods list": command("-m", "mmbal", "methods", "list"),
        "mmbal diagnose, 200 x 6 x 2": command("-m", "mmbal", "diagnose", file),
        "mmbal report, two files of 200 x 6 x 2": command("-m", "mmbal", "report", file, file),
        "mmbal calibrate, 200 x 6 x 2": command(
            "-m", "mmbal", "calibrate", str(held), "--out", str(folder / "rule.json"), "--force"
        ),
    }


def cost(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of one call, its child processes included, and by how many MiB the peak of the memory rose."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = spent()
    work()
    return spent() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1024


def spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of what is to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    fit_rule(votes(68, 68, 3), "pool")  # imports are not part of a fit
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, work in jobs(Path(folder)).items():
            if name in (YARDSTICK, START) or any(part in name for part in options.only):
                seconds, peak = cost(work)
                unit = (
                    found[START]["seconds"]
                    if name.startswith("mmbal")
                    else found.get(YARDSTICK, {}).get("seconds", seconds)
                )
                found[name] = {"seconds": seconds, "ratio": 1.0 if name == START else seconds / unit, "peak": peak}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print("| what | CPU s | over the yardstick | peak, MiB |\n|---|---|---|---|")
    for name, row in found.items():
        peak = "" if name.startswith("mmbal") or name == START else f"{row['peak']:.0f}"
        print(f"| {name} | {row['seconds']:.2f} | {row['ratio']:.2f} | {peak} |")


if __name__ == "__main__":
    main()
