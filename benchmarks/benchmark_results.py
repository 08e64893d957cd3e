"""results.jsonl of a sweep as the table that mmbal ships: a line for each trial and each run.

    mmbal sweep examples/benchmark_study.yaml --no-tables --out runs/benchmark
    python benchmarks/benchmark_results.py runs/benchmark mmbal/embedded/benchmark.csv

`mmbal report RUN --against published` places a run in it; docs/benchmark.md has the tables.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from mmbal.engine.results import RESULTS, Record, Results

COLUMNS = (
    "data,store,variant,method,fusion,kind,number,seed,status,best_epoch,seconds,"
    "val_accuracy,val_nll,test_accuracy,test_nll,weakest_alone,params"
)


def row_of(record: Record) -> list[object]:
    """The values of a record, in the order of COLUMNS; figures to four digits, empty where there are none."""
    val, test = record.figures.get("val", {}), record.figures.get("test", {})
    shown = test or val
    alone = [value for key, value in shown.items() if key.startswith("alone/")]
    figures = [val.get("accuracy"), val.get("nll"), test.get("accuracy"), test.get("nll"), min(alone, default=None)]
    return [
        record.data,
        record.store[:12],
        record.variant,
        record.config["method"]["name"],
        record.config["fusion"]["name"],
        record.kind,
        record.number,
        record.seed,
        record.status,
        record.best_epoch,
        record.seconds,
        *(None if value is None else f"{value:.4g}" for value in figures),
        json.dumps(record.params, separators=(",", ":")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with arguments.out.open("w", encoding="utf-8", newline="") as stream:
        written = csv.writer(stream, lineterminator="\n")
        written.writerow(COLUMNS.split(","))
        written.writerows(map(row_of, Results(arguments.sweep / RESULTS).read()))


if __name__ == "__main__":
    main()
