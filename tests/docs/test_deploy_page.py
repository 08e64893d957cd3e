"""docs/deploy.md, executed as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from terminal import ok

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


# each modality is far too sure of itself, so a rule is stored
def scores(n: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    found = {
        f"logits_{m}": 4 * (s * np.eye(3)[labels] + random.normal(size=(n, 3))) for m, s in (("audio", 2), ("video", 1))
    }
    return {"labels": labels, **found, "fused": sum(found.values())}


def test_every_block_of_the_page_runs_in_its_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", **scores(400, 0), split=np.where(np.arange(400) % 2, "val", "test"))
    np.savez("new.npz", **scores(30, 1))
    names: dict[str, object] = {}
    ran = 0
    for kind, code in BLOCKS:
        if kind == "python":
            exec(compile(code, str(PAGE), "exec"), names)
        elif kind == "bash":
            for line in code.splitlines():
                ok(*line.split()[1:])
                ran += 1
    assert ran == 5
    assert {"decided.csv", "mine.rule.json", "rule.json", "rule.pt2"} <= {p.name for p in tmp_path.iterdir()}
    assert names["lost"].change.high < 0
    assert not np.isnan(names["log_p"].numpy()).any()
