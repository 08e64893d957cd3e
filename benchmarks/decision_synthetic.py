"""`adaptive` where the Bayes-optimal decision layer is known: how near it comes, and whether it ever does harm.

    python benchmarks/decision_synthetic.py [--seeds 20] [--json]

Worlds of class-conditional Gaussians (mmbal.predictions.synthetic) with over-confident modalities. With 10,000 rows
the test NLL is compared with that of the Bayes-optimal layer on the same 20,000 rows; with 50 rows, with the plain sum,
over seeds (mean and paired 95 % interval over seeds).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from mmbal.decision import fit_rule, scores
from mmbal.maths.bootstrap import mean_interval
from mmbal.predictions.synthetic import GaussianWorld

WORLDS: dict[str, dict[str, Any]] = {
    "calibrated": {"capability": [[1.5] * 5, [1.5] * 5], "overconfidence": [1, 1]},
    "weak and over-confident": {"capability": [[2.0] * 5, [0.7] * 5], "overconfidence": [1, 5]},
    "class-wise": {
        "capability": [[2.5, 2.5, 1, 0.5, 0.5], [0.5, 0.5, 1, 2.5, 2.5]],
        "overconfidence": [[1, 1, 2, 4, 4], [3, 3, 2, 1, 1]],
    },
    "three, one useless": {"capability": [[1.5] * 5, [1.0] * 5, [0.0] * 5], "overconfidence": [2, 1, 1]},
}


def world(name: str) -> GaussianWorld:
    """One of the worlds by its name."""
    m = len(WORLDS[name]["capability"])
    return GaussianWorld(classes=list("abcde"), modalities=[f"m{k}" for k in range(m)], **WORLDS[name])


def run(seeds: int) -> dict[str, Any]:
    """Figures of all worlds, as JSON values."""
    table: dict[str, Any] = {}
    for name in WORLDS:
        w = world(name)
        data = w.sample(30_000, seed=0, calibration=1 / 3)
        test = data.select("test")
        found = scores(fit_rule(data.select("calibration"), "adaptive").apply(test), test.labels)["nll"]
        best = w.bayes_nll(test)
        gains = {"nll": [], "accuracy": []}  # type: dict[str, list[float]]
        for seed in range(seeds):
            small = w.sample(2050, seed=1 + seed, calibration=50 / 2050)
            rest = small.select("test")
            fitted = scores(fit_rule(small.select("calibration"), "adaptive").apply(rest), rest.labels)
            plain = scores(fit_rule(small.select("calibration"), "sum").apply(rest), rest.labels)
            gains["nll"].append(plain["nll"] - fitted["nll"])
            gains["accuracy"].append(100 * (fitted["accuracy"] - plain["accuracy"]))
        table[name] = {"bayes_nll": best, "adaptive_nll": found, "excess_percent": 100 * (found / best - 1)}
        for figure, values in gains.items():
            table[name][f"{figure}_gain_at_50"] = mean_interval(np.array(values)).model_dump()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = run(options.seeds)
    if options.json:
        print(json.dumps(table, indent=2))
        return
    print(
        f"{'world':26} {'Bayes':>7} {'adaptive':>8} {'excess':>7}   gain over the sum with 50 rows: NLL, accuracy (points)"
    )
    for name, row in table.items():
        nll, accuracy = row["nll_gain_at_50"], row["accuracy_gain_at_50"]
        print(
            f"{name:26} {row['bayes_nll']:7.4f} {row['adaptive_nll']:8.4f} {row['excess_percent']:6.2f}%   "
            f"{nll['value']:+.3f} [{nll['low']:+.3f}, {nll['high']:+.3f}]  "
            f"{accuracy['value']:+.2f} [{accuracy['low']:+.2f}, {accuracy['high']:+.2f}]"
        )


if __name__ == "__main__":
    main()
