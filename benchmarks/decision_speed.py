"""How long decision rules take to fit, as ratios to scikit-learn in the same run.

    python benchmarks/decision_speed.py [--rows 10000] [--classes 100] [--json]

CPU seconds (user + system, all threads), so that a busy machine does not blur them: `adaptive` on two modalities against
scikit-learn's sigmoid calibration of both; temperatures of both modalities against scikit-learn's temperature scaling
(CalibratedClassifierCV, where that version has it); and `adaptive` on 68 classes x 3 modalities x 68 rows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from mmbal.decision import fit_rule
from mmbal.predictions.format import Predictions


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


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    data = votes(options.rows, options.classes, 2)
    small = votes(68, 68, 3)

    def sklearn(method: str) -> Callable[[], None]:
        def work() -> None:
            for logits in data.logits.values():
                frozen = FrozenEstimator(Fixed(options.classes))
                CalibratedClassifierCV(frozen, method=method).fit(logits, data.labels)

        return work

    fit_rule(small, "pool")  # imports are not part of the fit
    found = {
        "adaptive": seconds(lambda: fit_rule(data, "adaptive")),
        "adaptive, 68 classes x 3 x 68 rows": seconds(lambda: fit_rule(small, "adaptive")),
        "pool": seconds(lambda: fit_rule(data, "pool")),
        "matrix": seconds(lambda: fit_rule(data, "matrix")),
        "temperature": seconds(lambda: fit_rule(data, "temperature")),
        "scikit-learn sigmoid": seconds(sklearn("sigmoid")),
    }
    try:
        found["scikit-learn temperature"] = seconds(sklearn("temperature"))
    except ValueError:
        print("this scikit-learn has no temperature scaling")
    ratios = {
        "adaptive / scikit-learn sigmoid": found["adaptive"] / found["scikit-learn sigmoid"],
        **(
            {"temperature / scikit-learn temperature": found["temperature"] / found["scikit-learn temperature"]}
            if "scikit-learn temperature" in found
            else {}
        ),
    }
    if options.json:
        print(json.dumps({"cpu_seconds": found, "ratios": ratios}, indent=2))
        return
    for name, value in found.items():
        print(f"{name:40} {value:8.2f} CPU s")
    for name, value in ratios.items():
        print(f"{name:40} {value:8.2f}")


if __name__ == "__main__":
    main()
