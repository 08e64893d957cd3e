"""How often the 95 % intervals of the interaction and of the joint gain hold the truth, on worlds where it is known.

    python benchmarks/interaction_coverage.py --draws 100

The truth is computed on 400,000 samples of the same world, by the definition: v(both) - v(first) - v(second) + v(none) of
two modalities, averaged over the third one's presence where there are three. Figures: docs/coverage.md.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
from interval_coverage import WORLDS, wilson

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.coalitions import correct, log_likelihood
from mmbal.predictions.synthetic import GaussianWorld

MANY = 400_000
VALUES = {"accuracy": correct, "log_likelihood": log_likelihood}


def truths(world: GaussianWorld, samples: int = MANY) -> dict[tuple[str, str], float]:
    """The interaction by pair and measure, and the joint gain (measure ``joint``)."""
    p = world.sample(samples, seed=10**6, calibration=0.0)
    nothing = np.zeros((samples, len(p.classes)))
    found = {}
    for measure, value in VALUES.items():

        def v(*names: str, value=value) -> float:
            return float(value(sum((p.contribution[m] for m in names), nothing), p.labels).mean())

        for a, b in combinations(p.modalities, 2):
            rest = [m for m in p.modalities if m not in (a, b)]
            contexts = [()] if not rest else [(), tuple(rest)]  # with at most one other modality, each counts the same
            gains = [v(a, b, *t) - v(a, *t) - v(b, *t) + v(*t) for t in contexts]
            found[f"{a}+{b}", measure] = float(np.mean(gains))
            if measure == "accuracy":
                found[f"{a}+{b}", "joint"] = v(a, b) - max(v(a), v(b))
    return found


def estimates(world: GaussianWorld, n: int, seed: int, bootstrap: int) -> dict[tuple[str, str], tuple[float, float]]:
    """The intervals of one draw, by the same names."""
    found = diagnose(world.sample(n, seed, calibration=0.0), rule="temperature", bootstrap=bootstrap).interaction
    measures = (*VALUES, "joint")
    ends = {(pair, m): getattr(own, m) for pair, own in found.items() for m in measures}
    return {key: (figure.low, figure.high) for key, figure in ends.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--bootstrap", type=int, default=200)
    asked = parser.parse_args()
    print("| world | figure | truth | covered |\n| --- | --- | --- | --- |")
    for name in ("balanced", "dominated", "three, one weak"):
        truth = truths(WORLDS[name])
        draws = [estimates(WORLDS[name], asked.samples, seed, asked.bootstrap) for seed in range(asked.draws)]
        for (pair, measure), value in truth.items():
            covered = sum(low <= value <= high for low, high in (draw[pair, measure] for draw in draws))
            low, high = wilson(covered, asked.draws)
            share = f"{100 * covered / asked.draws:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
            print(f"| {name} | {pair}, {measure} | {value:.4f} | {share} |", flush=True)


if __name__ == "__main__":
    main()
