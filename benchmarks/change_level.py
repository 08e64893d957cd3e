"""How often `mmbal diagnose --baseline` tells of a change: where there is none, and where there is one.

    python benchmarks/change_level.py --draws 200

Two samples of the same Gaussian world are drawn, both without labels. "Covered": the 95 % interval of a change holds the
true change, which is 0. "Told": some figure is said to have moved; where nothing has, this should happen in at most 5 %
of the draws. Then one modality is made louder by a factor.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from mmbal.diagnosis import diagnose
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

WORLD = GaussianWorld("abcd", ["audio", "video"], [[2.0, 1.6, 1.2, 1.0], [1.0, 1.4, 1.8, 2.0]])


def draw(n: int, seed: int, gain: float = 1.0) -> Predictions:
    """``n`` samples without labels, the video's part multiplied by ``gain``."""
    p = WORLD.sample(n, seed, calibration=0.0)
    parts = {**p.contribution, "video": gain * p.contribution["video"]}
    fused = np.sum(list(parts.values()), axis=0)
    return replace(p, contribution=parts, fused=fused, labels=np.full(n, -1), labelled=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--level", action="store_true", help="only where nothing has changed")
    asked = parser.parse_args()
    print(f"{'samples':>8} {'louder':>7} {'covered':>8} {'told':>6}")
    for n, gain in ((200, 1.0), (1000, 1.0), (200, 1.5), (1000, 1.5), (1000, 1.1)):
        if asked.level and gain != 1:
            continue
        inside, told = [], 0
        for k in range(asked.draws):
            baseline = diagnose(draw(n, 2 * k), bootstrap=asked.bootstrap)
            found = diagnose(draw(n, 2 * k + 1, gain), baseline=baseline, bootstrap=asked.bootstrap)
            inside += [change.low <= 0 <= change.high for change in found.change.values()]
            told += bool(found.moved)
        covered = f"{np.mean(inside):.3f}" if gain == 1 else "-"
        print(f"{n:>8} {gain:>7} {covered:>8} {told / asked.draws:>6.3f}", flush=True)


if __name__ == "__main__":
    main()
