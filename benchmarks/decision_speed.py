"""How long decision rules, `calibrate` and `diagnose` take, how much memory, and how long the commands take to start.

    python benchmarks/decision_speed.py [--only NAME...] [--json]

CPU seconds (user + system, all threads), so that a busy machine does not blur them. Two yardsticks of the same run stand
beside them, since seconds differ between machines: scikit-learn's sigmoid calibration of two modalities of 10,000 rows and
100 classes, and a bare `import numpy` for the commands. Each figure is measured in a process of its own. Of a command it is
the median of three runs after a first one, which compiles the files as an installation does. `peak` is the largest memory of
a command's process, and of the others what they take beyond their input, in MiB (Linux). The last rows take many minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import machine_line
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from mmbal.decision import calibrate, fit_rule
from mmbal.diagnosis import diagnose
from mmbal.diagnosis.balance import contrast_of, shares_of
from mmbal.diagnosis.coalitions import decision_of
from mmbal.diagnosis.weights import layer_of
from mmbal.maths.bootstrap import Bootstrap
from mmbal.predictions.format import Predictions
from mmbal.predictions.humans import human_votes

YARDSTICK, START = "scikit-learn sigmoid, 10,000 x 100 x 2", "import numpy"

COMPLETION = ["-c", "from mmbal.cli.app import app; app(prog_name='mmbal')"]
# A small program that runs another: what a process has used counts what its parent held when it was started
USED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


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


def commands(folder: Path) -> dict[str, list[str]]:
    """What runs as a program, by name."""
    small, file = votes(200, 6, 2), str(folder / "small.npz")
    split(small, "test").save(file)
    held, rule = str(folder / "held.npz"), str(folder / "rule.json")
    split(small, "calibration").save(held)
    return {
        START: ["-c", "import numpy"],
        "mmbal --help": ["-m", "mmbal", "--help"],
        "mmbal, completion of a rule": COMPLETION,
        "mmbal methods list": ["-m", "mmbal", "methods", "list"],
        "mmbal diagnose, 200 x 6 x 2": ["-m", "mmbal", "diagnose", file],
        "mmbal report, two files of 200 x 6 x 2": ["-m", "mmbal", "report", file, file],
        "mmbal calibrate, 200 x 6 x 2": ["-m", "mmbal", "calibrate", held, "--out", rule, "--force"],
    }


def started(arguments: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds and peak memory (MiB) of a program: the median of three runs after a first one."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    if arguments == COMPLETION:
        environment |= {"_MMBAL_COMPLETE": "complete_bash", "COMP_WORDS": "mmbal diagnose --rule a", "COMP_CWORD": "3"}
    program = [sys.executable, "-c", USED, sys.executable, *arguments]
    runs = [subprocess.run(program, env=environment, check=True, capture_output=True, text=True) for _ in range(4)]
    used = [tuple(map(float, run.stdout.split())) for run in runs[1:]]
    return median(seconds for seconds, _ in used), max(memory for _, memory in used)


def jobs() -> dict[str, tuple[Callable[[], Predictions], Callable[[Predictions], Any]]]:
    """What is measured in Python, by name: how the input is made, and what is done with it."""

    def rows(n: int, classes: int, modalities: int, name: str = "test") -> Callable[[], Predictions]:
        return lambda: split(votes(n, classes, modalities), name)

    wide = partial(votes, 10_000, 100, 2)
    return {
        YARDSTICK: (wide, sigmoid),
        "adaptive, 10,000 x 100 x 2": (wide, lambda p: fit_rule(p, "adaptive")),
        "matrix, 10,000 x 100 x 2": (wide, lambda p: fit_rule(p, "matrix")),
        "diagnose, 700 x 6 x 2": (rows(700, 6, 2), diagnose),
        "diagnose, 10,000 x 100 x 3": (rows(10_000, 100, 3), diagnose),
        "diagnose, 100,000 x 10 x 2": (rows(100_000, 10, 2), diagnose),
        "calibrate, human votes, 3,917 x 6 x 2": (human_votes, calibrate),
        "calibrate, 10,000 x 100 x 3": (rows(10_000, 100, 3, "calibration"), calibrate),
        "balance, 300 x 1,000 x 3": (rows(300, 1_000, 3), balance),
        "balance, 15,000 x 309 x 3": (rows(15_000, 309, 3), balance),
        "diagnose, 300 x 1,000 x 3": (rows(300, 1_000, 3), diagnose),
        "diagnose, 15,000 x 309 x 3": (rows(15_000, 309, 3), diagnose),
        "calibrate, 15,000 x 309 x 3": (rows(15_000, 309, 3, "calibration"), calibrate),
        "diagnose, 50,000 x 1,000 x 2": (rows(50_000, 1_000, 2), diagnose),
        "calibrate, 50,000 x 1,000 x 2": (rows(50_000, 1_000, 2, "calibration"), calibrate),
    }


def balance(predictions: Predictions) -> None:
    """The weights, shares and tests of the section *balance*."""
    layer, boot = layer_of(decision_of(predictions), predictions), Bootstrap.of(len(predictions))
    shares_of(layer, boot)
    contrast_of(layer, boot.jackknife())


def measured(name: str) -> tuple[float, float]:
    """CPU seconds and memory beyond the input (MiB) of one job; run it in a process of its own."""
    make, work = jobs()[name]
    fit_rule(votes(68, 68, 3), "pool")  # imports are not part of a fit
    data = make()
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the memory is counted from here
    held, start = peak(), time.process_time()
    work(data)
    return time.process_time() - start, peak() - held


def peak() -> float:
    """The largest memory of this process since it was last set back, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of what is to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    if not options.json:
        print(machine_line())
        print("| what | CPU s | over the yardstick | peak, MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        programs = commands(Path(folder))
        for name in (*programs, *jobs()):
            if name not in (YARDSTICK, START) and not any(part in name for part in options.only):
                continue
            if name in programs:
                seconds, memory = started(programs[name], Path(folder))
            else:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    seconds, memory = pool.apply(measured, (name,))
            unit = found.get(START if name in programs else YARDSTICK, {}).get("seconds", seconds)
            found[name] = {"seconds": seconds, "ratio": seconds / unit, "peak": memory}
            if not options.json:
                print(f"| {name} | {seconds:.2f} | {seconds / unit:.2f} | {memory:.0f} |", flush=True)
    if options.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
