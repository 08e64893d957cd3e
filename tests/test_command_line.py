"""Every method from the command line, on 2, 3 and 6 modalities, of which one is missing in a quarter of the samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from terminal import ok

from mmbal.data.store.store import Store
from mmbal.registry import methods


@pytest.fixture(scope="module", params=[2, 3, 6])
def store(request, tmp_path_factory) -> Path:
    """A store of 48 samples of 4 classes, prepared on the command line from a feature file."""
    random, n, folder = np.random.default_rng(0), 48, tmp_path_factory.mktemp("store")
    labels = np.arange(n) % 4
    split = np.where(np.arange(n) % 3 == 0, "val", "train")
    features = {f"m{k}": random.normal(size=(n, 4 + k)) + 2 * np.eye(4, 4 + k)[labels] for k in range(request.param)}
    present = {"present_m1": np.arange(n) % 4 > 0}
    np.savez(folder / "features.npz", labels=labels, split=split, **features, **present)
    ok("prepare", folder / "features.npz", "--out", folder / "store")
    assert sum(Store.open(folder / "store").present["m1"]) == 36
    return folder / "store"


@pytest.mark.long
@pytest.mark.parametrize("name", methods.names())
def test_a_method_trains_from_the_command_line(name: str, store: Path, tmp_path: Path):
    about = methods.entry(name).about
    fusion = ["--fusion", about.fusion] if about.fusion else []
    options = ["--epochs", 3, "--batch-size", 16, "--device", "cpu", "--no-pages", "--out", tmp_path / "run"]
    ok("train", "--data", store, "--method", name, *fusion, *options)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert all(
        np.isfinite(value) for line in lines for value in json.loads(line)["val"].values() if isinstance(value, float)
    )
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["method"] == name
