"""The page of the benchmark: what a set is like and what a family gains, by hand on a small sweep."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mmbal.predictions.format import Predictions

FOLDER = Path(__file__).parents[2] / "benchmarks"
N = 200


def write_run(folder: Path, wrong: int, weak: int, seed: int, own: bool) -> None:
    """Two classes of 100; the fused decision errs on the first ``wrong`` samples, b alone on the first ``weak``, a never."""
    labels = np.arange(N) % 2

    def logits(errors: int) -> np.ndarray:
        return 2.0 * np.eye(2)[np.where(np.arange(N) < errors, 1 - labels, labels)]

    arrays = {"labels": labels, "ids": np.arange(N).astype(str), "split": np.full(N, "test"), "classes": ["x", "y"]}
    found = Predictions.from_arrays(arrays | {"logits_a": logits(0), "logits_b": logits(weak), "fused": logits(wrong)})
    found.meta["seed"] = seed
    (folder / "predictions").mkdir(parents=True)
    found.save(folder / "predictions" / "test.npz")
    method = folder.name.rpartition("-s")[0]
    (folder / "config.yaml").write_text(f"method: {{name: {method}}}\n")
    (folder / "summary.json").write_text(json.dumps({"method": method, "seconds": 1.0}))
    (folder / "metrics.jsonl").write_text(json.dumps({"train": {"loss/own/a" if own else "loss/total": 1.0}}) + "\n")


@pytest.fixture
def sets(tmp_path: Path, monkeypatch):
    """b alone is right for 180 of 200 on "near", for 110 on "far"; `late_fusion` mends 80 errors on "far" alone."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import benchmark_sets

    for name, weak, fused in (("near", 20, 90), ("far", 90, 10)):
        for seed in range(3):
            for method, wrong in (("joint", 90), ("unimodal", 90), ("late_fusion", fused)):
                write_run(tmp_path / name / f"{method}-s{seed}", wrong, weak, seed, method == "late_fusion")
    yield [benchmark_sets.Set.of(tmp_path / n, {"joint", "unimodal", "late_fusion"}) for n in ("near", "far")]
    sys.modules.pop("benchmark_sets")


def test_the_weakest_modality_is_measured_against_chance(sets):
    near, far = sets
    assert (near.ends, far.ends) == (("b", "a"), ("b", "a"))
    # Half of the samples are of the most frequent class: 0.9 - 0.5 of 1 - 0.5, and 0.55 - 0.5 of it.
    assert [near.part, far.part] == pytest.approx([0.8, 0.1])
    assert (near.informative, far.informative) == (True, False)  # 0.05 has a standard error of 0.05


def test_families_gain_where_their_methods_do(sets):
    from benchmark_sets import Families

    found = Families.of(sets)
    assert found.members == {
        "baseline": {"late_fusion", "unimodal"},
        "own losses": {"late_fusion"},
        "no own losses": {"unimodal"},
    }
    assert found.gains["own losses", "far"].value == pytest.approx(0.4)  # 80 of 200 samples
    assert found.gains["baseline", "far"].value == pytest.approx(0.2)
    assert found.gains["own losses", "near"].value == 0
    told = found.between("the weakest modality tells little", {"near": False, "far": True})
    assert [line.split("*")[1] for line in told] == ["own losses", "baseline"]
    assert "gains more than elsewhere" in told[0]
    assert "+40.0 pp" in told[0]
