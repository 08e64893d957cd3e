"""What the model's own decision is worth as an input of the decision layer, on models that are not additive.

    mmbal prepare avmnist --out S
    mmbal train --data S --fusion film --encoder cnn --epochs 3 --batch-size 64 --out runs/film   # gated, attention_it
    python benchmarks/decision_fused.py runs/film runs/gated runs/attention_it [--json]

For each run or predictions file, accuracy (%) and NLL (nats) on the test split: of the decision as it is, and of `adaptive`
fitted on the calibration split from the parts alone, from `fused` alone, and by default (rules on `fused`, on the parts and
on both, averaged). The last line is the world of decision_synthetic.py in which no part tells anything alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from decision_synthetic import conditioned, modular

from mmbal.decision import fit_rule, scores
from mmbal.decision.fused import as_it_is, only
from mmbal.errors import MmbalError
from mmbal.predictions.format import Predictions
from mmbal.runs import find_predictions

WORLD = "(a+b)%5, over-confident, 200 rows"


def measure(given: Predictions) -> dict[str, dict[str, float]]:
    """Accuracy and NLL by what decides."""
    rows, test = given.select("calibration"), given.select("test")
    alone = [only(replace(p, logits={"model": as_it_is(p)}), ["model"]) for p in (rows, test)]
    decided = {
        "fused": as_it_is(test),
        "parts": fit_rule(only(rows, rows.modalities), "adaptive").apply(test),
        "fused alone": fit_rule(alone[0], "adaptive").apply(alone[1]),
        "adaptive": fit_rule(rows, "adaptive").apply(test),
    }
    return {name: scores(np.asarray(log_p), test.labels) for name, log_p in decided.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        found = {str(path): find_predictions(path) for path in options.runs}
    except MmbalError as error:
        sys.exit(f"{error.message} {error.hint}".strip())
    table: dict[str, Any] = {name: measure(p.unruled or p) for name, p in found.items()}
    table[WORLD] = measure(conditioned(modular, 4200, 200, 0, loud=2.0)[0])
    if options.json:
        print(json.dumps(table, indent=2))
        return
    columns = list(table[WORLD])
    print(f"{'':36}", *(f"{name:>14}" for name in columns))
    for name, row in table.items():
        print(f"{name:36}", *(f"{100 * row[c]['accuracy']:6.1f} / {row[c]['nll']:5.3f}" for c in columns))


if __name__ == "__main__":
    main()
