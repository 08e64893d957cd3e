"""A run beside the published results: the table of docs/benchmark.md, which comes with mmbal.

The runs of that table were all tuned alike, with small encoders and few epochs. A run trained otherwise is placed in it for
orientation; it is not tested against its rows, whose decisions do not come with mmbal.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmbal import embedded
from mmbal.diagnosis.coalitions import correct, decision_of
from mmbal.errors import UsageError
from mmbal.runs import find_predictions, read_environment, run_folder
from mmbal.tables import Column, Table
from mmbal.text import SHARE

PUBLISHED = "published"
FILE = "benchmark.csv"


@dataclass(frozen=True)
class Row:
    """A variant of the published table on one data set; accuracies are those of its runs on the test split."""

    variant: str
    accuracies: tuple[float, ...]
    not_converged: int


def published(store: str) -> tuple[str, list[Row]]:
    """Name of the data set with the hash ``store``, and its rows; raises UsageError where the table has none."""
    text = embedded.path(FILE).read_text(encoding="utf-8").splitlines()
    runs = [row for row in csv.DictReader(text) if row["kind"] == "run"]
    here = [row for row in runs if store.startswith(row["store"])]
    if not here:
        known = sorted({row["data"] for row in runs})
        raise UsageError(
            "The published table has no results on the store of this run.",
            f"It has: {', '.join(known)}; docs/benchmark.md says how their stores are made.",
        )
    names = dict.fromkeys(row["variant"] for row in here)
    found = []
    for name in names:
        mine = [row for row in here if row["variant"] == name]
        accuracies = tuple(float(row["test_accuracy"]) for row in mine if row["test_accuracy"])
        found.append(Row(name, accuracies, sum(row["status"] != "converged" for row in mine)))
    return here[0]["data"], found


def placed(name: str, accuracy: float, rows: Sequence[Row]) -> Table:
    """The rows and the run, by accuracy, the best first."""
    whole = [row for row in rows if row.accuracies]
    each = [*whole, Row(name, (accuracy,), 0)]
    each.sort(key=lambda row: -float(np.mean(row.accuracies)))
    means = [float(np.mean(row.accuracies)) for row in each]
    ranks = [1 + sum(other > mean for other in means) for mean in means]
    spread = [float(np.std(row.accuracies, ddof=1)) if len(row.accuracies) > 1 else None for row in each]
    return Table.of(
        [
            Column("rank", ranks),
            Column("variant", [row.variant for row in each], left=True, wrap=True),
            Column("seeds", [len(row.accuracies) for row in each]),
            Column("accuracy %", means, SHARE.bare(), better=1),
            Column("deviation (pp)", spread, SHARE.bare(), drop=1),
            Column("not converged", [row.not_converged or None for row in each], drop=2),
        ],
        title="Against the published table",
    )


def against_published(path: Path) -> tuple[Table, str]:
    """The table with the run at ``path`` in it, and a sentence on what it is; raises UsageError where it can't be placed."""
    folder = run_folder(path)
    if folder is None:
        raise UsageError(f"{path} is not a run of mmbal.", "--against published takes one run of `mmbal train`.")
    data, rows = published(str(read_environment(folder)["store"]["hash"]))
    test = find_predictions(folder).select("test")
    accuracy = float(correct(decision_of(test).fused, test.labels).mean())
    told = (
        f"Test split of {data}. The rows were tuned alike (8 trials each), with small encoders and few epochs: "
        "docs/benchmark.md. A run that was trained otherwise is placed for orientation, and is not tested against them."
    )
    return placed(folder.resolve().name, accuracy, rows), told
