"""All decision rules on a folder of predictions files: fitted on `calibration`, scored on `test`.

    python benchmarks/decision_rules.py DIR [--rules sum best pool ... adaptive] [--json]

Files NAME.K.npz, K = fold, are pooled into the column NAME. Prints accuracy (%) and NLL (nats) per column and rule, their
means over the columns, the paired gains over the plain sum with 95 % bootstrap intervals, and the seconds that the
fits took. The interval of a mean over columns draws rows within each column, so it is that of these data sets.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mmbal.decision import fit_rule
from mmbal.errors import MmbalError, UsageError
from mmbal.maths.bootstrap import Bootstrap
from mmbal.predictions.format import Predictions
from mmbal.registry import rules

REPLICATES = 1000


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
                rule = fit_rule(calibration, name)
                seconds[name] += time.process_time() - start
                log_p = rule.apply(test)
                hits.append(log_p.argmax(axis=1) == test.labels)
                costs.append(-log_p[np.arange(len(test)), test.labels])
            right[column, name], loss[column, name] = 100.0 * np.concatenate(hits), np.concatenate(costs)

    def gain(values: dict[tuple[str, str], np.ndarray], name: str, sign: int) -> dict[str, float]:
        each = [boot.means(sign * (values[column, name] - values[column, "sum"])) for column, boot in boots.items()]
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
        names = list(dict.fromkeys(["sum", "best", *chosen]))
        table = run(columns_of(options.folder), names)
    except MmbalError as error:
        sys.exit(f"{error.message} {error.hint}".strip())
    if options.json:
        print(json.dumps(table, indent=2))
        return
    columns = list(table["sum"]["columns"])
    width = max(map(len, [*columns, "column"]))
    print("accuracy % / NLL per column".ljust(width), *(f"{name:>13.13}" for name in names))
    for column in columns:
        cells = (table[name]["columns"][column] for name in names)
        print(column.ljust(width), *(f"{c['accuracy']:6.2f}/{c['nll']:6.3f}" for c in cells))
    print()
    print(
        f"{'mean over columns':18} {'acc %':>6} {'against the sum':>23} {'NLL':>6} {'against the sum':>23} {'CPU s':>7}"
    )
    for name, row in table.items():
        accuracy, nll = row["accuracy_gain"], row["nll_gain"]
        print(
            f"{name:18} {row['accuracy']:6.2f} "
            f"{accuracy['value']:+7.2f} [{accuracy['low']:+6.2f},{accuracy['high']:+6.2f}] "
            f"{row['nll']:6.4f} {-nll['value']:+7.3f} [{-nll['high']:+6.3f},{-nll['low']:+6.3f}] {row['seconds']:7.2f}"
        )


if __name__ == "__main__":
    main()
