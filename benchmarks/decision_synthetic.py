"""`adaptive` where the Bayes-optimal decision layer is known: how near it comes, and whether it ever does harm.

    python benchmarks/decision_synthetic.py [--seeds 20] [--json]

Two kinds of worlds. In the first, classes are Gaussian, modalities are independent given the class, and the decision as it
is is the sum of over-confident parts (mmbal.predictions.synthetic); the Bayes-optimal layer is log-linear. In the second the
model's decision is not the sum of its parts, as with FiLM, gates and attention:

    film      b shows which of two codes a is written in (and a little of the class); a shows the class in that code
    gated     b shows whether a is right or random (and a little of the class)
    (a+b)%5   a shows i, b shows j, the class is (i + j) mod 5: no part tells anything alone

The model decides by the exact posterior ("right"), or by one that is over-confident (three times the logits), biased (up to
1 nat a class) or deaf (without what b shows of the class itself, and with twice the logits). What there is to gain is the
distance to the posterior.

With many calibration rows (10,000, or 2,000 in the second kind) the test NLL is compared with that of the posterior on the
same rows; with 50 rows, with the decision as it is, over seeds (mean and paired 95 % interval over seeds).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from mmbal.decision import fit_rule, scores
from mmbal.decision.fused import as_it_is
from mmbal.maths.bootstrap import mean_interval
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

GAUSSIAN: dict[str, dict[str, Any]] = {
    "calibrated": {"capability": [[1.5] * 5, [1.5] * 5], "overconfidence": [1, 1]},
    "weak and over-confident": {"capability": [[2.0] * 5, [0.7] * 5], "overconfidence": [1, 5]},
    "class-wise": {
        "capability": [[2.5, 2.5, 1, 0.5, 0.5], [0.5, 0.5, 1, 2.5, 2.5]],
        "overconfidence": [[1, 1, 2, 4, 4], [3, 3, 2, 1, 1]],
    },
    "three, one useless": {"capability": [[1.5] * 5, [1.0] * 5, [0.0] * 5], "overconfidence": [2, 1, 1]},
}
CLASSES = 5
Array = np.ndarray
Sample = Callable[
    [int, int, int], tuple[Predictions, Array]
]  # rows, of these calibration, seed -> posterior (N, C) too


def gaussian(name: str, rows: int, calibration: int, seed: int) -> tuple[Predictions, Array]:
    """Independent modalities; the decision as it is is the plain sum."""
    m = len(GAUSSIAN[name]["capability"])
    world = GaussianWorld(classes=list("abcde"), modalities=[f"m{k}" for k in range(m)], **GAUSSIAN[name])
    data = world.sample(rows, seed=seed, calibration=calibration / rows)
    return data, world.bayes_log_probabilities(data)


def evidence(rng: np.random.Generator, shown: Array, classes: int, distance: float) -> Array:
    """Log-likelihoods ``(N, C)``, up to a constant a row, of a Gaussian measurement whose mean is ``distance`` e_shown."""
    x = rng.normal(size=(len(shown), classes))
    x[np.arange(len(shown)), shown] += distance
    return distance * x


def film(rng: np.random.Generator, labels: Array) -> tuple[Array, Array, Array]:
    """Without the direct evidence of b: log-posterior, what a tells alone; and that direct evidence, ``(N, C)`` each."""
    code = rng.integers(2, size=len(labels))
    a = evidence(rng, np.where(code == 1, CLASSES - 1 - labels, labels), CLASSES, 2.5)
    codes = log_softmax(evidence(rng, code, 2, 3.0), axis=1)
    read = np.stack([a, a[:, ::-1]], axis=1)
    return logsumexp(codes[..., None] + read, axis=1), logsumexp(read, axis=1), evidence(rng, labels, CLASSES, 1.0)


def gated(rng: np.random.Generator, labels: Array) -> tuple[Array, Array, Array]:
    """As :func:`film`: the class is what a shows where the gate is open, else a shows any class."""
    gate = rng.integers(2, size=len(labels))
    a = evidence(rng, np.where(gate == 1, labels, rng.integers(CLASSES, size=len(labels))), CLASSES, 3.0)
    gates = log_softmax(evidence(rng, gate, 2, 3.0), axis=1)
    closed = np.broadcast_to(logsumexp(a, axis=1, keepdims=True) - np.log(CLASSES), a.shape)
    read = np.stack([closed, a], axis=1)
    return logsumexp(gates[..., None] + read, axis=1), logsumexp(read, axis=1), evidence(rng, labels, CLASSES, 1.5)


def modular(rng: np.random.Generator, labels: Array) -> tuple[Array, Array, Array]:
    """As :func:`film`: the class is (i + j) mod 5, so that neither part tells anything, and nothing else is shown."""
    i = rng.integers(CLASSES, size=len(labels))
    a, b = (evidence(rng, k, CLASSES, 3.0) for k in (i, (labels - i) % CLASSES))
    every = np.arange(CLASSES)
    fused = np.stack([logsumexp(a + b[:, (k - every) % CLASSES], axis=1) for k in every], axis=1)
    nothing = rng.normal(size=(2, len(labels), CLASSES)) / 4
    return fused, nothing[0], np.zeros_like(fused)


def conditioned(
    draw: Callable[[np.random.Generator, Array], tuple[Array, Array, Array]],
    rows: int,
    calibration: int,
    seed: int,
    loud: float = 1.0,
    bias: float = 0.0,
    deaf: bool = False,
) -> tuple[Predictions, Array]:
    """A model that is not additive: its decision, its over-confident parts and the posterior."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=rows)
    core, alone, direct = draw(rng, labels)
    posterior = log_softmax(core + direct, axis=1)
    fused = loud * log_softmax(core if deaf else core + direct, axis=1) + bias * np.linspace(-1, 1, CLASSES)
    arrays = {
        "labels": labels,
        "fused": fused,
        "logits_a": 2 * alone,
        "logits_b": 2 * direct,
        "split": np.where(np.arange(rows) < calibration, "calibration", "test"),
    }
    return Predictions.from_arrays(arrays), posterior


WORLDS: dict[str, tuple[Sample, int]] = {  # and the calibration rows that are many
    **{name: (partial(gaussian, name), 10_000) for name in GAUSSIAN},
    "film, right": (partial(conditioned, film), 2_000),
    "film, over-confident": (partial(conditioned, film, loud=3.0), 2_000),
    "film, biased": (partial(conditioned, film, bias=1.0), 2_000),
    "film, deaf": (partial(conditioned, film, loud=2.0, deaf=True), 2_000),
    "gated, right": (partial(conditioned, gated), 2_000),
    "gated, over-confident": (partial(conditioned, gated, loud=3.0), 2_000),
    "gated, deaf": (partial(conditioned, gated, loud=2.0, deaf=True), 2_000),
    "(a+b)%5, right": (partial(conditioned, modular), 2_000),
    "(a+b)%5, over-confident": (partial(conditioned, modular, loud=2.0), 2_000),
}


def run(seeds: int, names: list[str]) -> dict[str, Any]:
    """Figures of the worlds, as JSON values."""
    table: dict[str, Any] = {}
    for name in names:
        sample, many = WORLDS[name]
        data, posterior = sample(many + 20_000, many, 0)
        rows = data.split == "test"
        test = data.take(rows)
        found = scores(fit_rule(data.select("calibration"), "adaptive").apply(test), test.labels)["nll"]
        start, best = (scores(p, test.labels)["nll"] for p in (as_it_is(test), posterior[rows]))
        gains: dict[str, list[float]] = {"nll": [], "accuracy": []}
        for seed in range(seeds):
            small, _ = sample(2050, 50, 1 + seed)
            rest = small.select("test")
            fitted = scores(fit_rule(small.select("calibration"), "adaptive").apply(rest), rest.labels)
            before = scores(as_it_is(rest), rest.labels)
            gains["nll"].append(before["nll"] - fitted["nll"])
            gains["accuracy"].append(100 * (fitted["accuracy"] - before["accuracy"]))
        table[name] = {"fused_nll": start, "bayes_nll": best, "adaptive_nll": found}
        for figure, values in gains.items():
            table[name][f"{figure}_gain_at_50"] = mean_interval(np.array(values)).model_dump()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = run(options.seeds, options.worlds)
    if options.json:
        print(json.dumps(table, indent=2))
        return
    print("                           NLL with many rows          gain over fused with 50 rows")
    print(f"{'world':26} {'fused':>7} {'adaptive':>8} {'Bayes':>7}   NLL, accuracy (pp)")
    for name, row in table.items():
        nll, accuracy = row["nll_gain_at_50"], row["accuracy_gain_at_50"]
        print(
            f"{name:26} {row['fused_nll']:7.4f} {row['adaptive_nll']:8.4f} {row['bayes_nll']:7.4f}   "
            f"{nll['value']:+.3f} [{nll['low']:+.3f}, {nll['high']:+.3f}]  "
            f"{accuracy['value']:+.2f} [{accuracy['low']:+.2f}, {accuracy['high']:+.2f}]"
        )


if __name__ == "__main__":
    main()
