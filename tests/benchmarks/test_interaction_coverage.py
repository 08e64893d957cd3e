"""The coverage of the interaction in small: the estimates are near the truth of the world, and cover it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("interaction_coverage", FOLDER / "interaction_coverage.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_intervals_hold_the_truth_of_the_world(experiment):
    world = experiment.WORLDS["three, one weak"]
    truth = experiment.truths(world, 50_000)
    draws = [experiment.estimates(world, 300, seed, 100) for seed in range(6)]
    assert {key for draw in draws for key in draw} == set(truth)
    inside = [low <= truth[key] <= high for draw in draws for key, (low, high) in draw.items()]
    assert np.mean(inside) > 0.8  # of 54 intervals of 95 %, 9 to a draw
    # the weak third modality says nearly nothing, so it has nearly no interaction; the strong two share what they know
    assert abs(truth["audio+text", "accuracy"]) < abs(truth["audio+video", "accuracy"])
