"""Where the truth is known: do the intervals of the diagnosis cover it, and does `adaptive` reach the Bayes layer?

    python benchmarks/interval_coverage.py --seeds 200 --workers 2 --write docs/coverage.md

Every seed is a new sample of each synthetic world (mmbal/predictions/synthetic.py), whose population figures are exact. The
first table counts how often a nominal 95 % interval of `mmbal.diagnose` holds the population's figure. The decision gap
is that of the rule which the diagnosis has fitted, so its truth is what this rule gains in the population; it is also
counted against what the Bayes layer gains, the best rule there is ("of Bayes"). The second fits decision rules on 10,000
and on 50 rows and compares them with the Bayes layer and with the plain sum on the same rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.special import log_softmax
from scipy.stats import norm

from mmbal.decision import Rule, fit_rule
from mmbal.diagnosis import diagnose
from mmbal.files import write_text
from mmbal.maths.bootstrap import Estimate
from mmbal.maths.significance import holm
from mmbal.predictions.format import Predictions
from mmbal.predictions.synthetic import GaussianWorld

SIX = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
CLASSWISE = [[1.8, 0.6, 1.4, 0.3, 1.6, 1.2], [0.5, 1.6, 0.8, 2.0, 0.5, 0.7]]
WORLDS = {
    "balanced": GaussianWorld(SIX, ("audio", "video"), [[1.4] * 6, [1.2] * 6]),
    "dominated": GaussianWorld(SIX, ("audio", "video"), [[1.4] * 6, [1.2] * 6], overconfidence=[3.0, 1.0]),
    "categorical": GaussianWorld(SIX, ("audio", "video"), CLASSWISE, overconfidence=[1.0, 2.5]),
    "three, one weak": GaussianWorld(
        SIX, ("audio", "video", "text"), [*CLASSWISE, [0.4] * 6], overconfidence=[2.0, 1.0, 1.5], dominance=[1, 1, 2]
    ),
    "class-wise over-confidence": GaussianWorld(
        SIX,
        ("audio", "video"),
        CLASSWISE,
        overconfidence=[[3.0, 1.0, 0.5, 2.0, 1.0, 1.0], [1.0, 0.5, 2.0, 1.0, 3.0, 1.0]],
    ),
}
DIAGNOSED = ("balanced", "dominated", "categorical", "three, one weak")
BETTER = 1.3  # how much stronger the weakest modality's separately trained encoder is in the world of the reference
ROWS, TESTED, SMALL, LARGE = 1000, 1000, 50, 10_000
LEVEL = 0.95
DRAWS = 100_000
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def truths(world: GaussianWorld) -> dict[str, float]:
    """The population's figures, by their paths in the diagnosis."""
    better = reference_of(world)
    bayes, as_is = (world.bayes_weights, world.bayes_bias), (world.loudness, None)
    found = {
        "accuracy.fused": world.as_is_accuracy(),
        "decision_gap.accuracy of Bayes": world.bayes_accuracy() - world.as_is_accuracy(),
        "decision_gap.nats of Bayes": world.nll(*as_is) - world.nll(*bayes),
        "representation_gap.accuracy": better.bayes_accuracy() - world.bayes_accuracy(),
        "representation_gap.nats": world.nll(*bayes) - better.nll(*bayes),
        "index": world.imbalance_index(),
    }
    say, worth = world.contribution_shares(), world.contribution_shares(world.bayes_weights)
    weight = (world.bayes_weights / world.loudness).mean(axis=1)
    for j, m in enumerate(world.modalities[:-1]):  # the last one's share follows from the others'
        found |= {f"contribution.{m}": say[j], f"capability.{m}": worth[j], f"weight.{m}": weight[j] / weight.mean()}
    return found


def reference_of(world: GaussianWorld) -> GaussianWorld:
    """The same world seen through a better encoder of the weakest modality; the same seed gives the same samples."""
    strength = world.strength.copy()
    strength[strength.sum(axis=1).argmin()] *= BETTER
    return replace(world, capability=strength)


def gain_of(rule: Rule, world: GaussianWorld) -> dict[str, float]:
    """What a fitted rule gains over the plain decision in the population, by ``DRAWS`` samples of it."""
    rows = world.sample(DRAWS, seed=2**31, calibration=0.0)
    best, as_is = rule.apply(rows), log_softmax(np.asarray(rows.fused), axis=-1)
    hits = [(p.argmax(axis=1) == rows.labels).mean() for p in (best, as_is)]
    return {
        "decision_gap.accuracy": float(hits[0] - hits[1]),
        "decision_gap.nats": float(losses(as_is, rows).mean() - losses(best, rows).mean()),
    }


def estimates(name: str, seed: int) -> tuple[dict[str, Estimate | None], dict[str, float]]:
    """The diagnosis of one sample, by the same paths; and the truths that differ from sample to sample."""
    torch.set_num_threads(1)
    world = WORLDS[name]
    rows, better = world.sample(ROWS + TESTED, seed, ROWS / (ROWS + TESTED)), reference_of(world)
    found = diagnose(rows, reference=better.sample(ROWS + TESTED, seed), bootstrap=300, seed=seed, confidence=LEVEL)
    assert found.decision_gap is not None
    assert found.representation_gap is not None
    known = {
        "accuracy.fused": found.accuracy.fused,
        "decision_gap.accuracy": found.decision_gap.accuracy,
        "decision_gap.nats": found.decision_gap.nats,
        "decision_gap.accuracy of Bayes": found.decision_gap.accuracy,
        "decision_gap.nats of Bayes": found.decision_gap.nats,
        "representation_gap.accuracy": found.representation_gap.accuracy,
        "representation_gap.nats": found.representation_gap.nats,
        "index": found.index,
        **{f"contribution.{m}": e for m, e in found.contribution.items()},
        **{f"capability.{m}": e for m, e in found.capability.items()},
        **{f"weight.{m}": b.weight for m, b in found.balance.items()},
    }
    return known, gain_of(fit_rule(rows.select("calibration"), "adaptive"), world)


def coverage(name: str, seeds: int, workers: int) -> list[list[str]]:
    """Rows: figure, truth, mean estimate, mean width of the interval, coverage with its own interval."""
    with ProcessPoolExecutor(workers) as pool:
        found = list(pool.map(partial(estimates, name), range(seeds)))
    fixed, rows = truths(WORLDS[name]), []
    for path in {**found[0][1], **fixed}:
        pairs = [(known[path], {**fixed, **own}[path]) for known, own in found]
        known = [(e.value, e.low, e.high, t) for e, t in pairs if e is not None and e.low is not None]
        value, bottom, top, truth = np.array(known, dtype=float).T
        hits = int(((bottom <= truth) & (truth <= top)).sum())
        low, high = wilson(hits, len(known))
        verdict = "" if low <= LEVEL <= high else " **too low**" if high < LEVEL else " too high"
        share = f"{100 * hits / len(known):.1f} % [{100 * low:.0f}, {100 * high:.0f}]{verdict}"
        means = (f"{x.mean():.4f}" for x in (truth, value, top - bottom))
        rows.append([name, path, *means, share])
    return rows


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = float(norm.ppf(0.975))
    centre = (hits + z**2 / 2) / (n + z**2)
    half = z * (hits * (n - hits) / n + z**2 / 4) ** 0.5 / (n + z**2)
    return centre - half, centre + half


def scored(name: str, rows: int, seed: int) -> dict[str, float]:
    """Rules fitted on ``rows`` rows against Bayes and the plain sum, on other rows of the same world."""
    torch.set_num_threads(1)
    world = WORLDS[name]
    sample = world.sample(rows + TESTED * (10 if rows == LARGE else 1), seed, calibration=0.0)
    fitted, test = sample.take(np.arange(rows)), sample.take(np.arange(rows, len(sample)))
    begun = time.process_time()
    adaptive = fit_rule(fitted, "adaptive")
    seconds = time.process_time() - begun
    log_p = {
        "bayes": world.bayes_log_probabilities(test),
        "sum": log_softmax(sum(test.logits.values(), np.zeros((len(test), len(test.classes)))), axis=-1),
        "adaptive": adaptive.apply(test),
    }
    nll = {rule: losses(p, test) for rule, p in log_p.items()}
    right = {rule: (p.argmax(axis=1) == test.labels).astype(float) for rule, p in log_p.items()}
    worse = nll["adaptive"] - nll["sum"]
    fewer = right["sum"] - right["adaptive"]
    return {
        "seconds": seconds,
        **{f"nll {rule}": float(x.mean()) for rule, x in nll.items()},
        **{f"accuracy {rule}": float(x.mean()) for rule, x in right.items()},
        "p nll": one_sided(worse),
        "p accuracy": one_sided(fewer),
    }


def losses(log_p: np.ndarray, rows: Predictions) -> np.ndarray:
    return -log_p[np.arange(len(rows)), rows.labels]


def one_sided(difference: np.ndarray) -> float:
    """p of "the mean is not above zero", from paired rows."""
    spread = difference.std(ddof=1) / len(difference) ** 0.5
    return float(norm.sf(difference.mean() / spread)) if spread > 0 else 1.0


def compared(name: str, rows: int, seeds: int, workers: int) -> list[str]:
    """NLL of Bayes, adaptive and sum, adaptive's excess, and on how many seeds it is worse than the sum."""
    with ProcessPoolExecutor(workers) as pool:
        found = list(pool.map(partial(scored, name, rows), range(1000, 1000 + seeds)))
    mean = {key: float(np.mean([f[key] for f in found])) for key in found[0]}
    excess = [f["nll adaptive"] / f["nll bayes"] - 1 for f in found]
    worse = [int((holm([f[f"p {what}"] for f in found]) < 0.05).sum()) for what in ("nll", "accuracy")]
    return [
        name,
        *(f"{mean[f'nll {rule}']:.3f}" for rule in ("bayes", "adaptive", "sum")),
        f"{100 * float(np.mean(excess)):+.2f} % ({100 * max(excess):+.2f} %)",
        *(f"{100 * mean[f'accuracy {rule}']:.1f}" for rule in ("bayes", "adaptive", "sum")),
        f"{worse[0]} / {worse[1]} of {seeds}",
        f"{mean['seconds']:.1f}",
    ]


def tables(given: argparse.Namespace) -> Iterator[str]:
    """The lines of the tables, each as soon as it is known."""
    if given.seeds:
        yield f"### Coverage of nominal 95 % intervals, {given.seeds} samples of each world\n"
        yield from header(["world", "figure", "truth", "mean estimate", "mean width", "coverage"])
        for name in filter(given.worlds.__contains__, DIAGNOSED):
            yield from map(line, coverage(name, given.seeds, given.workers))
    head = ["world", "NLL Bayes", "adaptive", "sum", "excess over Bayes, mean (worst)"]
    head += ["accuracy Bayes", "adaptive", "sum", "worse than sum (NLL / accuracy)", "fit (CPU s)"]
    for rows, seeds in ((LARGE, given.large), (SMALL, given.small)):
        if seeds:
            yield f"\n### Rules fitted on {rows:,} rows, {seeds} samples of each world\n"
            yield from header(head)
            for name in given.worlds:
                yield line(compared(name, rows, seeds, given.workers))


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def header(names: list[str]) -> list[str]:
    return [line(names), line(["---"] * len(names))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="samples of each world for the coverage")
    parser.add_argument(
        "--large", type=int, default=10, help="samples of each world for the rules fitted on 10,000 rows"
    )
    parser.add_argument("--small", type=int, default=100, help="samples of each world for the rules fitted on 50 rows")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS), help="all by default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", type=Path, help="a Markdown file with the two markers, between which to write")
    given = parser.parse_args()
    lines = []
    for text in tables(given):
        print(text, flush=True)
        lines.append(text)
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        write_text(given.write, "\n".join([before + BEGIN, *lines, END + after]))


if __name__ == "__main__":
    main()
