"""The benchmark of methods in small: how many rows the encoders of a method read in a step, over joint training."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "method_overhead.py"


@pytest.fixture(scope="module")
def overhead():
    spec = importlib.util.spec_from_file_location("method_overhead", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(PATH.parent))
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        ("joint", [1.0]),
        ("late_fusion", [1.0]),
        ("modality_dropout", [2.0]),
        ("agm", [1 + 5 / 4]),  # the batch once more, and one row of zeros, in evaluation mode
        ("agm:features=training", [1 + 1 / 4]),
        ("umt", [1.0, 2.0]),  # teachers, then a student whose teachers read each batch too
    ],
)
def test_what_the_encoders_read(overhead, method: str, rows: list[float], tmp_path: Path):
    store = overhead.make_store(tmp_path, size=8, rows=4)
    reference = overhead.Trainer(overhead.started(overhead.Session(overhead.config_for("joint", store, 4))))
    found = overhead.measure(method, reference, store, batch=4, rounds=1)
    assert [f["rows"] for f in found] == rows
    assert all(f["step"] > 0 and f["least"] <= f["step"] <= f["most"] for f in found)
