"""All decision rules on a folder of predictions files: fitted on `calibration`, scored on `test`.

    python benchmarks/decision_rules.py DIR [--rules sum best pool ... adaptive] [--json]

Files NAME.K.npz, K = fold, are pooled into the column NAME. Prints accuracy (%) and NLL (nats) per column and rule, their
means over the columns, the paired gains over the decision as it is (`fused`) with 95 % bootstrap intervals, the share of
columns that the rule makes worse than it, and the seconds that the fits took. The interval of a mean over columns draws
rows within each column, so it is that of these data sets.

Where probmetrics is installed (`pip install probmetrics numba`), three calibrators of it stand beside the rules. They take
the probabilities of one model, so they get the decision as it is: temperature scaling with a uniform mixture (`ts-mix`),
structured vector scaling (`svs`) and structured matrix scaling (`sms`), each with its defaults.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.decision import fit_rule
from mmbal.decision.fused import as_it_is
from mmbal.errors import MmbalError, UsageError
from mmbal.maths.bootstrap import Bootstrap
from mmbal.maths.scoring import correct
from mmbal.predictions.format import Predictions
from mmbal.registry import rules

REPLICATES = 1000
EXTERNAL = ("ts-mix", "svs", "sms")  # of probmetrics

Decide = Callable[[Predictions], np.ndarray]


def fitted(name: str, calibration: Predictions) -> Decide:
    """What decides under a name: `fused` as it is, an external calibrator of it, or a rule."""
    if name == "fused":
        return as_it_is
    if name not in EXTERNAL:
        return fit_rule(calibration, name).apply
    from probmetrics.calibrators import get_calibrator

    calibrator = get_calibrator(name)
    calibrator.fit(np.exp(as_it_is(calibration)), calibration.labels)

    def decide(rows: Predictions) -> np.ndarray:
        p = np.asarray(calibrator.predict_proba(np.exp(as_it_is(rows))), dtype=np.float64)
        return np.log(np.maximum(p, np.finfo(np.float64).tiny))

    return decide


def columns_of(folder: Path) -> dict[str, list[Predictions]]:
    """Column name -> its folds; raises UsageError where the folder has no predictions files."""
    columns: dict[str, list[Predictions]] = {}
    for path in sorted(folder.glob("*.npz")):
        columns.setdefault(re.sub(r"\.\d+$", "", path.stem), []).append(Predictions.load(path))
    if not columns:
        raise UsageError(f"There is no .npz file in {folder}.")
    return columns


def run(columns: dict[str, list[Predictions]], names: list[str]) -> dict[str, Any]:
    """The figures of every rule and column, as JSON values."""
    right: dict[tuple[str, str], np.ndarray] = {}
    loss: dict[tuple[str, str], np.ndarray] = {}
    seconds = dict.fromkeys(names, 0.0)
    boots = {}
    for column, folds in columns.items():
        parts = [(p.select("calibration"), p.select("test")) for p in folds]
        boots[column] = Bootstrap.of(sum(len(test) for _, test in parts), replicates=REPLICATES)
        for name in names:
            hits, costs = [], []
            for calibration, test in parts:
                start = time.process_time()
                decide = fitted(name, calibration)
                seconds[name] += time.process_time() - start
                log_p = decide(test)
                hits.append(correct(log_p, test.labels))
                costs.append(-log_p[np.arange(len(test)), test.labels])
            right[column, name], loss[column, name] = 100.0 * np.concatenate(hits), np.concatenate(costs)

    def gain(values: dict[tuple[str, str], np.ndarray], name: str, sign: int) -> dict[str, float]:
        each = [boot.means(sign * (values[column, name] - values[column, "fused"])) for column, boot in boots.items()]
        estimate = next(iter(boots.values())).estimate(np.mean(each, axis=0))
        assert estimate is not None
        return estimate.model_dump()

    table = {}
    for name in names:
        each = {
            column: {"accuracy": float(right[column, name].mean()), "nll": float(loss[column, name].mean())}
            for column in columns
        }
        table[name] = {
            "columns": each,
            "accuracy": float(np.mean([c["accuracy"] for c in each.values()])),
            "nll": float(np.mean([c["nll"] for c in each.values()])),
            "worse": {
                "accuracy": float(np.mean([right[c, name].mean() < right[c, "fused"].mean() for c in columns])),
                "nll": float(np.mean([loss[c, name].mean() > loss[c, "fused"].mean() + 1e-6 for c in columns])),
            },
            "accuracy_gain": gain(right, name, 1),
            "nll_gain": gain(loss, name, -1),
            "seconds": seconds[name],
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rules", nargs="+", help="default: every rule that needs no features")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        chosen = options.rules or [e.name for e in rules if e.cls.source == "logits"]
        external = EXTERNAL
        try:
            importlib.import_module("probmetrics.calibrators")
        except ImportError as error:
            print(f"The calibrators of probmetrics are left out ({error}).", file=sys.stderr)
            external = ()
        names = list(dict.fromkeys(["fused", "sum", "best", *chosen, *external]))
        table = run(columns_of(options.folder), names)
    except MmbalError as error:
        sys.exit(f"{error.message} {error.hint}".strip())
    if options.json:
        print(json.dumps(table, indent=2))
        return
    columns = list(table["fused"]["columns"])
    width = max(map(len, [*columns, "column"]))
    print("accuracy % / NLL per column".ljust(width), *(f"{name:>13.13}" for name in names))
    for column in columns:
        cells = (table[name]["columns"][column] for name in names)
        print(column.ljust(width), *(f"{c['accuracy']:6.2f}/{c['nll']:6.3f}" for c in cells))
    print()
    print(
        f"{'mean over columns':18} {'acc %':>6} {'against fused':>23} {'NLL':>6} {'against fused':>23} "
        f"{'worse in: acc':>13} {'NLL':>5} {'CPU s':>7}"
    )
    for name, row in table.items():
        accuracy, nll, worse = row["accuracy_gain"], row["nll_gain"], row["worse"]
        print(
            f"{name:18} {row['accuracy']:6.2f} "
            f"{accuracy['value']:+7.2f} [{accuracy['low']:+6.2f},{accuracy['high']:+6.2f}] "
            f"{row['nll']:6.4f} {-nll['value']:+7.3f} [{-nll['high']:+6.3f},{-nll['low']:+6.3f}] "
            f"{worse['accuracy']:13.0%} {worse['nll']:5.0%} {row['seconds']:7.2f}"
        )


if __name__ == "__main__":
    main()
