"""Gates pass, fail or are undecided; changes against a baseline; figures by the names of the tables."""

from __future__ import annotations

import math

import pytest

from mmbal.diagnosis import diagnose
from mmbal.diagnosis.change import changes
from mmbal.diagnosis.conditions import figures_of, spelled
from mmbal.diagnosis.policy import Gate, Policy, failure, judge, read_policy, summary
from mmbal.diagnosis.tables import classes, modalities
from mmbal.errors import ConfigError, UsageError
from mmbal.maths.bootstrap import Estimate
from mmbal.predictions.synthetic import GaussianWorld


@pytest.fixture(scope="module")
def diagnosis():
    world = GaussianWorld(["a", "b", "c"], ["voice", "face"], [[2.0, 1.0, 1.0], [1.0, 2.0, 1.0]], dominance=[1.0, 3.0])
    return diagnose(world.sample(300, seed=0), bootstrap=100, rule="pool")


def with_index(diagnosis, value, low, high):
    return diagnosis.model_copy(update={"index": Estimate(value=value, low=low, high=high)})


def states(diagnosis, *conditions, undecided="undecided", **given):
    gates = tuple(Gate(name=str(k), fail_if=text) for k, text in enumerate(conditions))
    return [one.state for one in judge(Policy(gates=gates, undecided=undecided), "m", diagnosis, **given)]


def test_a_gate_is_undecided_where_the_interval_spans_the_limit(diagnosis):
    d = with_index(diagnosis, 0.3, 0.2, 0.4)
    assert states(d, "index > 0.1", "index > 0.25", "index > 0.35", "index > 0.5") == [
        "fail",
        "undecided",
        "undecided",
        "pass",
    ]
    assert states(d, "index < 0.1", "index < 0.35", "index < 0.5") == ["pass", "undecided", "fail"]
    # An end is a number, and so is the value: they have no interval.
    assert states(d, "index.low > 0.25", "index.high > 0.25", "index.value > 0.25") == ["pass", "fail", "fail"]
    assert states(d, "index > 0.25", "index > 0.35", by_value=True) == ["fail", "pass"]
    assert states(d, "index > 0.25", undecided="fail") == ["fail"]
    assert states(d, "index > 0.25", undecided="pass") == ["pass"]


def test_only_errors_count_for_the_exit_code(diagnosis):
    d = with_index(diagnosis, 0.3, 0.2, 0.4)

    def ended(*gates):
        error = failure(judge(Policy(gates=gates), "m", d))
        return None if error is None else error.exit_code

    bad, open_ = Gate(name="bad", fail_if="index > 0.1"), Gate(name="open", fail_if="index > 0.25")
    assert ended(bad, open_) == 3
    assert ended(open_) == 6
    assert ended(Gate(name="good", fail_if="index > 0.9")) is None
    assert ended(bad.model_copy(update={"severity": "warning"})) is None
    judged = judge(Policy(gates=(bad, open_)), "m", d)
    assert summary(judged) == "2 gates: 1 failed, 1 undecided."
    assert "bad: index = 0.3 [0.2, 0.4], the gate fails if it is > 0.1" in failure(judged).message


def test_the_interval_of_a_change_joins_those_of_both(diagnosis):
    before, now = with_index(diagnosis, 0.1, 0.06, 0.13), with_index(diagnosis, 0.3, 0.27, 0.38)
    value, low, high = changes(now, before)["change.index"]
    assert value == pytest.approx(0.2)
    assert low == pytest.approx(0.2 - math.sqrt(0.03**2 + 0.03**2))
    assert high == pytest.approx(0.2 + math.sqrt(0.08**2 + 0.04**2))
    assert states(now, "change.index > 0.1", "change.index > 0.16", baseline=before) == ["fail", "undecided"]
    with pytest.raises(UsageError, match="no baseline"):
        states(now, "change.index > 0.1")


def test_a_figure_is_found_by_the_name_that_a_table_gives_it(diagnosis):
    figures = figures_of(diagnosis)
    told = {
        "imbalance index": "index",
        "ECE fused": "calibration.fused.ece",
        "temperature of voice": "calibration.voice.temperature",
        "follows voice": "preference.follows.voice",
        "changes without face": "preference.changes_without.face",
        "accuracy alone voice": "accuracy.alone.voice",
        "decision gap (pp)": "decision_gap.accuracy",
        "accuracy": "accuracy.fused",
        "b contribution of face": "classes.b.contribution.face",
    }
    assert {name: spelled(name, figures) for name in told} == told
    # Every column of figures of the two main tables, with the row that it is in.
    for table, rows in ((modalities(diagnosis), ["voice"]), (classes(diagnosis), list(diagnosis.classes))):
        for column in table.columns[1:]:
            if column.name and column.name != "samples" and column.cells[0] is not None:
                assert spelled(f"{rows[0]} {column.name}", figures) in figures, column.name


def test_a_policy_is_read_strictly(tmp_path):
    def read(text):
        (tmp_path / "p.yaml").write_text(text)
        return read_policy(tmp_path / "p.yaml")

    found = read("gates:\n  - name: g\n    fail_if: index > 0.2\n    reason: r\n    severity: note\n")
    assert found.gates == (Gate(name="g", fail_if="index > 0.2", reason="r", severity="note"),)
    for wrong in ("gates: []", "gates: [{name: g, fail_if: index > 1, why: r}]", "gates: [{name: g}]"):
        with pytest.raises(ConfigError):
            read(wrong)
    with pytest.raises(UsageError, match=r"gate 'g'.*FIGURE OPERATOR NUMBER"):
        read("gates: [{name: g, fail_if: index}]")
    with pytest.raises(UsageError, match="two gates are called 'g'"):
        read("gates: [{name: g, fail_if: index > 1}, {name: g, fail_if: index > 2}]")
