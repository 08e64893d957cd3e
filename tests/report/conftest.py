"""A comparison made by hand, and a diagnosis of a small world, for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.synthetic import GaussianWorld
from mmbal.report.compare import Comparison, Entry, Figure, Row
from mmbal.report.paired import PairedTest
from mmbal.report.sources import Source, read_source


def row(label: str, accuracy: Figure, **more) -> Row:
    figures = dict.fromkeys(("accuracy", "nll", "ece", "weak_accuracy", "index", "decision_gap"))
    figures |= {"accuracy": accuracy, "index": Figure(value=0.224, low=0.18, high=0.26)}
    entry = Entry(path=label, samples=10, weak_modality="video", figures={}, best_epoch=4)
    return Row(label=label, meta={}, entries=[entry], figures=figures, weak_modality="video", **more)


@pytest.fixture
def comparison() -> Comparison:
    test = PairedTest(
        samples=10,
        accuracy=Estimate(value=-0.031, low=-0.044, high=0.002),
        nll=Estimate(value=0.1),
        p=0.0001,
        p_holm=0.0002,
        mcnemar=0.04,
    )
    rows = [
        row("joint · concat", Figure(value=0.655, low=0.62, high=0.69)),
        row("a|b & <c> 5%_x", Figure(value=0.624, spread=0.012), test=test, optimistic=Figure(value=0.7)),
    ]
    return Comparison(split="test", confidence=0.95, rows=rows, notes=["a note"])


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Two modalities, of which the first decides; classes with names that are mark-up."""
    world = GaussianWorld(["<i>", "no"], ["audio & co", "video"], [[1.5, 1.0], [1.0, 1.5]], [3.0, 1.0])
    file: Path = tmp_path_factory.mktemp("source") / "p.npz"
    world.sample(300, seed=0).save(file)
    return read_source(file, replicates=100)
