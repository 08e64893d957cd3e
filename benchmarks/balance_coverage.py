"""How the imbalance index and its intervals do with the number of samples, on worlds whose balance is known.

python benchmarks/balance_coverage.py [--draws 40] [--replicates 400]

Prints, by world and number of samples: the true index and the mean estimate; how often the intervals of the index, of
the difference of the first modality's shares, and of those differences by class cover the truth; how often anything is
flagged. For the Bayes-optimal layer the flags are false alarms, and the index is covered where there are none.
"""

from __future__ import annotations

import argparse

import numpy as np

from mmbal.diagnosis.balance import adjusted_p_values, shares_of
from mmbal.diagnosis.coalitions import decision_of
from mmbal.diagnosis.weights import layer_of
from mmbal.maths.bootstrap import Bootstrap, Estimate
from mmbal.predictions.synthetic import GaussianWorld

CLASSES = 6
SAMPLES = (200, 700, 3000)
LOUDNESS = {
    "Bayes-optimal": [1.0, 1.0],
    "1.5 times too loud": [1.0, 1.5],
    "4 times too loud": [1.0, 4.0],
    "class-wise": [[1.0, 1.0, 1.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 1.0, 1.0, 1.0]],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40, help="samples of each world and size")
    parser.add_argument("--replicates", type=int, default=400, help="bootstrap replicates")
    options = parser.parse_args()
    capability = np.random.default_rng(0).uniform(0.5, 1.8, size=(2, CLASSES))
    print(f"{'world':20} {'n':>5} {'index':>6} {'mean':>6} {'index':>6} {'differ':>6} {'class':>6} {'flags':>6}")
    for name, loudness in LOUDNESS.items():
        world = GaussianWorld("abcdef", ["audio", "video"], capability, overconfidence=loudness)
        for n in SAMPLES:
            found = np.array([draw(world, n, seed, options.replicates) for seed in range(options.draws)])
            mean = found.mean(axis=0)
            print(
                f"{name:20} {n:5} {world.imbalance_index():6.3f} {mean[0]:6.3f} "
                + " ".join(f"{x:6.2f}" for x in mean[1:])
            )


def draw(world: GaussianWorld, n: int, seed: int, replicates: int) -> tuple[float, ...]:
    """The estimated index, three shares of covered truths, and whether something was flagged, of one sample."""
    predictions = world.sample(n, seed, calibration=0)
    boot = Bootstrap.of(n, replicates=replicates, seed=seed)
    shares, tested = (
        shares_of(layer_of(decision_of(predictions), predictions), table) for table in (boot, boot.jackknife())
    )
    overall, by_class = adjusted_p_values(tested)
    flagged = any(p is not None and p < 0.05 for p in (overall[0], *(row[0] for row in by_class)))
    index = boot.estimate(shares.index)
    assert index is not None
    if not flagged:
        index = index.model_copy(update={"low": 0.0})
    best = world.bayes_weights
    truth = (world.contribution_shares() - world.contribution_shares(best))[0]
    class_truth = (world.contribution_shares(per_class=True) - world.contribution_shares(best, per_class=True))[:, 0]
    difference = boot.estimate(shares.contribution[:, 0] - shares.capability[:, 0])
    classes = (shares.class_contribution - shares.class_capability)[:, :, 0]
    hits = [covers(boot.estimate(classes[:, k]), t) for k, t in enumerate(class_truth)]
    return index.value, covers(index, world.imbalance_index()), covers(difference, truth), float(np.mean(hits)), flagged


def covers(estimate: Estimate | None, truth: float) -> bool:
    """Whether the interval holds the truth; a figure that is not defined covers nothing."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return False
    return estimate.low <= truth <= estimate.high


if __name__ == "__main__":
    main()
