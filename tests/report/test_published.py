"""A run beside the published table: its place by accuracy, and what is said where it can't be placed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from terminal import as_json, refused
from worlds import of_logits

from mmbal import embedded
from mmbal.report.published import FILE, Row, placed


def test_a_run_is_placed_by_the_mean_accuracy_of_the_others():
    rows = [Row("a", (0.9, 0.7), 1), Row("b", (0.95,), 0), Row("diverged", (), 3)]
    table = placed("mine", 0.8, rows)
    cells = {row[1]: row for row in table.rows()}
    assert [row[1] for row in table.rows()] == ["b", "a", "mine"]
    assert [cells[name][0] for name in ("b", "a", "mine")] == ["1", "2", "2"]
    assert [cells[name][2] for name in ("b", "a", "mine")] == ["1", "2", "1"]


def test_the_command_places_a_run_on_a_store_of_the_table_and_refuses_another(tmp_path: Path):
    text = embedded.path(FILE).read_text(encoding="utf-8").splitlines()
    known = next(row for row in csv.DictReader(text) if row["kind"] == "run")
    labels = np.arange(40) % 2
    logits = 2.0 * np.eye(2)[labels]
    found = of_logits(labels, logits, logits, fused=logits, split=np.full(40, "test"))
    for name, store in (("mine", known["store"] + "0" * 52), ("other", "f" * 64)):
        (tmp_path / name / "predictions").mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("method: {name: joint}\n")
        (tmp_path / name / "env.json").write_text(json.dumps({"store": {"hash": store}}))
        (tmp_path / name / "summary.json").write_text("{}")
        found.save(tmp_path / name / "predictions" / "test.npz")
    shown = as_json("report", tmp_path / "mine", "--against", "published")
    assert next(row for row in shown["rows"] if row["variant"] == "mine")["rank"] == "1"
    assert "no results on the store" in refused(2, "report", tmp_path / "other", "--against", "published")
    assert "published" in refused(2, "report", tmp_path / "mine", "--against", "mine")
