"""The coverage experiment in small: that it compares like with like, and writes where it should."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from mmbal.decision import fit_rule

PATH = Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"


@pytest.fixture(scope="module")
def experiment():
    spec = importlib.util.spec_from_file_location("coverage_experiment", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_wilson_interval_of_95_in_100(experiment):
    # centre (95 + 1.9207) / 103.8415, half width 1.96 sqrt(95 * 5 / 100 + 0.9604) / 103.8415
    assert experiment.wilson(95, 100) == pytest.approx((0.8882, 0.9785), abs=1e-4)


def test_every_truth_has_its_estimate_and_none_is_far_off(experiment, monkeypatch):
    monkeypatch.setattr(experiment, "ROWS", 600)
    monkeypatch.setattr(experiment, "TESTED", 600)
    found, own = experiment.estimates("dominated", 0)
    for path, value in {**experiment.truths(experiment.WORLDS["dominated"]), **own}.items():
        estimate = found[path]
        assert abs(estimate.value - value) < 2 * (estimate.high - estimate.low), path


def test_the_gain_of_the_bayes_layer_itself_is_the_populations(experiment):
    """Temperatures 3 and 1 undone by weights 1/3 and 1: fitted to many rows, a pool is the Bayes layer."""
    world = experiment.WORLDS["dominated"]
    rule = fit_rule(world.sample(20_000, seed=1), "pool")
    found, truth = experiment.gain_of(rule, world), experiment.truths(world)
    assert found["decision_gap.nats"] == pytest.approx(truth["decision_gap.nats of Bayes"], abs=0.01)
    assert found["decision_gap.accuracy"] == pytest.approx(truth["decision_gap.accuracy of Bayes"], abs=0.003)


def test_the_reference_sees_the_same_samples_better(experiment):
    world = experiment.WORLDS["categorical"]
    better = experiment.reference_of(world)
    one, other = world.sample(50, seed=3), better.sample(50, seed=3)
    assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.ids, other.ids)
    assert better.bayes_accuracy() > world.bayes_accuracy()


def test_balanced_is_balanced_and_the_others_are_not(experiment):
    truth = {name: experiment.truths(experiment.WORLDS[name]) for name in experiment.DIAGNOSED}
    assert truth["balanced"]["index"] == pytest.approx(0, abs=1e-12)
    assert truth["balanced"]["decision_gap.accuracy of Bayes"] == pytest.approx(0, abs=1e-12)
    assert all(truth[name]["index"] > 0.1 for name in experiment.DIAGNOSED[1:])


def test_one_sided_p(experiment):
    # mean 1, standard deviation 2 of n = 4: z = 1
    values = np.array([1 + 3**0.5, 1 + 3**0.5, 1 - 3**0.5, 1 - 3**0.5])
    assert experiment.one_sided(values) == pytest.approx(0.158655, abs=1e-6)
    assert experiment.one_sided(np.zeros(4)) == 1.0


def test_tables_go_between_the_markers(experiment, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{experiment.BEGIN}\nold\n{experiment.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(experiment, "compared", lambda name, rows, seeds, workers: [f"{rows} rows"])
    options = ["coverage.py", "--seeds", "0", "--large", "1", "--small", "1", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", options)
    experiment.main()
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| 10000 rows |" in text
    assert "| 50 rows |" in text
