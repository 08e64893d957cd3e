"""Tuned alike: the space of a method, as many trials for every variant, a choice by validation alone, and what is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import Field
from terminal import mmbal
from worlds import of_logits

from mmbal.config import Config
from mmbal.engine import tuning
from mmbal.engine.results import RESULTS, Record, Results, figures, judged
from mmbal.engine.search import Range, Search, best_of, method_space, propose, space_of
from mmbal.engine.study import jobs, read_study
from mmbal.engine.sweep import _counted, sweep
from mmbal.errors import ConfigError, Interrupted
from mmbal.progress import listening, steps
from mmbal.registry import methods


class Options(Config):
    """A method's numbers and forms."""

    strength: float = Field(0.2, ge=0)
    share: float = Field(0.5, ge=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    count: int = Field(5, ge=3)
    once: int = Field(1, ge=1, le=1)
    nothing: float = Field(0.0, ge=0)
    unset: int | None = Field(None, ge=0)
    flag: bool = True
    form: str = "paper"


def test_a_method_s_numbers_are_searched_within_the_bounds_of_its_page():
    space = method_space(Options)
    assert set(space) == {"strength", "share", "momentum", "count"}
    assert (space["strength"].low, space["strength"].high) == pytest.approx((0.05, 0.8))
    assert (space["share"].low, space["share"].high) == (0.125, 1.0)
    assert space["momentum"].low == pytest.approx(0.225)
    assert 0.99 < space["momentum"].high < 1.0
    assert (space["count"].low, space["count"].high, space["count"].integer) == (3.0, 20.0, True)
    assert all(part.log for part in space.values())


def test_the_ends_of_every_method_s_space_are_allowed_by_its_page():
    for entry in methods:
        space = method_space(entry.cls.Config)
        for share in (0.0, 1.0):
            entry.cls.Config(**{key: part.at(share) for key, part in space.items()})


def test_a_range_is_drawn_evenly_on_its_scale():
    assert Range(low=0.01, high=1.0, log=True).at(0.5) == pytest.approx(0.1)
    assert Range(low=2.0, high=4.0).at(0.25) == 2.5
    whole = {Range(low=1.0, high=3.0, integer=True).at(u) for u in np.linspace(0, 0.999, 50)}
    assert whole == {1, 2, 3}
    with pytest.raises(ValueError, match="low must be below high"):
        Range(low=1.0, high=1.0)


def test_the_study_adds_keys_and_takes_some_away():
    search = Search(
        space={"optimiser.lr": Range(low=0.1, high=0.2), "batch_size": (16, 32)},
        by_variant={"a": {"method.share": None, "batch_size": None, "fusion.dim": (8, 16)}},
    )
    every = {"method.strength", "method.share", "method.momentum", "method.count", "optimiser.lr", "batch_size"}
    assert set(space_of(search, "b", Options)) == every
    assert set(space_of(search, "a", Options)) == every - {"method.share", "batch_size"} | {"fusion.dim"}
    assert set(space_of(search.model_copy(update={"own": False}), "b", Options)) == {"optimiser.lr", "batch_size"}


def test_the_first_trial_is_the_study_s_own_and_the_others_follow_from_the_seed():
    search, space = Search(seed=3), {"x": Range(low=1e-4, high=1e-1, log=True), "y": ("a", "b", "c")}
    assert propose(search, "one", space, 0) == {}
    drawn = [propose(search, "one", space, k) for k in range(1, 400)]
    assert drawn[4] == propose(search, "one", dict(reversed(space.items())), 5)
    assert drawn[4] != propose(search, "two", space, 5)
    assert np.mean([math.log10(d["x"]) for d in drawn]) == pytest.approx(-2.5, abs=0.15)
    assert {d["y"] for d in drawn} == {"a", "b", "c"}


def record(number: int, status: str = "converged", **val: float) -> Record:
    known = {"data": "d", "variant": "v", "kind": "trial", "seed": 0, "store": "", "config": {}}
    shown = {"val": val} if val else {}
    return Record(**known, number=number, status=status, converged=status == "converged", figures=shown)


def test_the_best_trial_by_accuracy_or_by_calibrated_nll():
    done = [
        record(0, accuracy=0.8, nll=0.9, calibrated_nll=0.5),
        record(1, accuracy=0.8, nll=0.5, calibrated_nll=0.4),
        record(2, "still improving", accuracy=0.7, nll=0.3, calibrated_nll=0.3),
        record(3, "diverged"),
        record(4, "pruned"),
    ]
    assert best_of(Search(), done).number == 1
    assert best_of(Search(select="nll"), done).number == 2
    assert best_of(Search(), done[3:]) is None


def test_figures_of_a_split_and_what_a_temperature_mends():
    labels = np.arange(60) % 3
    logits = 12.0 * np.eye(3)[labels]
    logits[:6] = 12.0 * np.eye(3)[(labels[:6] + 1) % 3]  # sure of 54 right and of 6 wrong ones
    found = figures(of_logits(labels, logits, np.zeros((60, 3)), fused=logits))
    assert found["accuracy"] == found["alone/m0"] == pytest.approx(0.9)
    assert found["nll"] == pytest.approx(0.1 * 12, abs=0.01)
    # The best temperature gives every row p = .9 in its class: the entropy of .9, .05, .05.
    assert found["calibrated_nll"] == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.05)), abs=0.02)


def test_a_run_that_did_not_converge_is_marked():
    def curve(*accuracy: float) -> list[dict[str, float]]:
        return [{"accuracy": a, "nll": 1 - a} for a in accuracy]

    assert judged(curve(0.5, 0.9, 0.905), 0.905, 0.3, "accuracy") == ("converged", "")
    assert judged(curve(0.5, 0.9, 0.915), 0.915, 0.3, "accuracy")[0] == "still improving"
    assert judged(curve(0.5, 0.9, 0.915), 0.915, 0.3, "nll")[0] == "converged"
    assert judged(curve(0.3, 0.3, 0.3), 0.3, 0.3, "accuracy")[0] == "diverged"


@pytest.fixture
def study(toy, tmp_path: Path) -> Path:
    values: dict[str, Any] = {
        "seeds": [0, 1],
        "base": {"epochs": 2, "batch_size": 16, "device": "cpu", "optimiser": {"lr": 0.05}},
        "data": {"toy": {"data": str(toy({"audio": 6, "video": 4}).path)}},
        "variants": {"ogm": {"method": {"name": "ogm"}}},
        "search": {"trials": 3, "seed": 7},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return tmp_path / "study.yaml"


def changed(study: Path, **values: Any) -> Path:
    study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | values, sort_keys=False))
    return study


def test_every_variant_is_tuned_alike_and_then_run_with_what_was_best(study: Path, tmp_path: Path):
    out = tmp_path / "out"
    folders = sweep(read_study(study), out)
    assert [f.name for f in folders["toy"]] == [f"{v}-s{s}" for v in ("joint", "late_fusion", "ogm") for s in (0, 1)]
    records = Results(out / RESULTS).read()
    trials = [r for r in records if r.kind == "trial"]
    assert {v: sum(t.variant == v for t in trials) for v in ("joint", "late_fusion", "ogm")} == dict.fromkeys(
        ("joint", "late_fusion", "ogm"), 3
    )
    assert all(set(t.figures) == {"val"} and t.seed == 7 for t in trials)  # no test figure is there to choose by
    assert not list((out / "toy" / "search").glob("*"))
    for variant in ("joint", "late_fusion", "ogm"):
        own = [t for t in trials if t.variant == variant]
        assert own[0].params == {}
        assert own[0].config["optimiser"]["lr"] == 0.05
        assert len({t.params.get("optimiser.lr") for t in own}) == 3
        best = max(own, key=lambda t: (t.figures["val"]["accuracy"], -t.figures["val"]["calibrated_nll"]))
        for run in (r for r in records if r.kind == "run" and r.variant == variant):
            assert run.params == best.params
            assert run.config["optimiser"]["lr"] == best.config["optimiser"]["lr"]
            assert run.config["method"] == best.config["method"]
            assert run.seed in (0, 1)
            assert set(run.figures) == {"val", "test"}
            assert run.seconds is not None


def test_a_search_that_was_stopped_goes_on_and_trains_nothing_twice(study: Path, tmp_path: Path, monkeypatch):
    whole = sweep(read_study(study), tmp_path / "whole")
    trained: list[Any] = []
    train = tuning.train

    def counted(config: Any, **options: Any) -> Any:
        if len(trained) == 5:
            raise KeyboardInterrupt
        trained.append(config)
        return train(config, **options)

    monkeypatch.setattr(tuning, "train", counted)
    with pytest.raises(Interrupted, match="what is trained is saved"):
        sweep(read_study(study), tmp_path / "parts")
    file = tmp_path / "parts" / RESULTS
    assert len(file.read_text().splitlines()) == 5
    with file.open("a") as stream:
        stream.write('{"data": "to')  # a crash in the middle of a line
    monkeypatch.setattr(tuning, "train", lambda config, **o: trained.append(config) or train(config, **o))
    parts = sweep(read_study(study), tmp_path / "parts")
    assert len(trained) == 9 + 6
    assert len(file.read_text().splitlines()) == 15
    assert [f.name for f in parts["toy"]] == [f.name for f in whole["toy"]]

    def told(out: str) -> list[tuple[Any, ...]]:
        found = Results(tmp_path / out / RESULTS).read()
        return sorted((r.variant, r.kind, r.number, r.seed, json.dumps([r.params, r.figures, r.curve])) for r in found)

    assert told("whole") == told("parts")


@pytest.mark.slow
def test_workers_find_what_one_finds(study: Path, tmp_path: Path):
    changed(study, seeds=[0], search={"trials": 2, "seed": 7})
    for workers in (1, 2):
        heard: list[float] = []
        with listening(heard.append):
            sweep(read_study(study), tmp_path / str(workers), workers=workers)
        assert heard == sorted(heard)
        assert heard[-1] == pytest.approx(1)
    one, two = (
        {(r.variant, r.kind, r.number, r.seed): (r.params, r.figures) for r in Results(tmp_path / w / RESULTS).read()}
        for w in ("1", "2")
    )
    assert one == two


def test_a_worker_begins_nothing_and_tells_nothing_once_the_sweep_is_stopped(monkeypatch: pytest.MonkeyPatch):
    """The pool hands some items on before they can begin; a stopped sweep must not train them."""
    stop, done = Event(), [0.0, 0.0]
    monkeypatch.setattr("mmbal.engine.sweep._stop", stop)
    monkeypatch.setattr("mmbal.engine.sweep._done", done)
    assert _counted(lambda item: [*steps([item])], "joint", 1) == ["joint"]
    assert done == [0.0, 1.0]
    stop.set()
    with pytest.raises(Interrupted):
        _counted(lambda item: pytest.fail("it began"), "joint", 0)


def test_a_loss_that_is_not_finite_is_marked_and_no_figure_of_it_is_averaged(study: Path, tmp_path: Path):
    changed(study, search=None, variants={"joint": {}, "wild": {"optimiser": {"lr": 1e30}}})
    out = tmp_path / "out"
    lines: list[str] = []
    folders = sweep(read_study(study), out, report=lambda steps, line: lines.append(line))
    assert [f.name for f in folders["toy"]] == ["joint-s0", "joint-s1"]
    wild = [r for r in Results(out / RESULTS).read() if r.variant == "wild"]
    assert [(r.status, r.converged, r.figures) for r in wild] == [("diverged", False, {})] * 2
    assert all("became" in r.why for r in wild)
    assert sum("(diverged)" in line for line in lines) == 2
    before = (out / RESULTS).read_text()
    sweep(read_study(study), out)
    assert (out / RESULTS).read_text() == before


@pytest.mark.slow
def test_the_command_says_which_runs_did_not_converge(study: Path, tmp_path: Path):
    changed(study, search=None, seeds=[0], variants={"joint": {}, "wild": {"optimiser": {"lr": 1e30}}})
    result = mmbal("sweep", study, "--out", tmp_path / "out", "--bootstrap", 100, "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["toy"]["rows"]
    assert len(row["entries"]) == 1
    assert "toy, wild, seed 0 did not converge: diverged" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"space": {"optimiser.lrr": {"low": 1, "high": 2}}}, "lrr"),
        ({"space": {"optimiser.momentum": {"low": 0.5, "high": 1.5}}}, "momentum"),
        ({"by_variant": {"ogm": {"method.alhpa": [1, 2]}}}, "alhpa"),
        ({"trials": 0}, "trials"),
    ],
)
def test_a_space_that_is_no_configuration_is_refused_before_anything_runs(
    search: dict[str, Any], said: str, study: Path, tmp_path: Path
):
    with pytest.raises(ConfigError, match=said):
        sweep(read_study(changed(study, search=search)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_search_without_variants_has_every_method(study: Path, tmp_path: Path):
    values = yaml.safe_load(study.read_text())
    del values["variants"]
    study.write_text(yaml.safe_dump(values))
    from mmbal.registry import methods

    plan = read_study(study)
    assert set(plan.variants) == set(methods.names())
    assert {j.config.fusion.name for j in jobs(plan, tmp_path) if j.variant == "ume"} == {"sum"}
    study.write_text(yaml.safe_dump({k: v for k, v in values.items() if k != "search"}))
    with pytest.raises(ConfigError, match="needs variants"):
        read_study(study)


@pytest.mark.slow
def test_tpe_proposes_within_the_space_and_prunes_what_is_behind(study: Path, tmp_path: Path):
    pytest.importorskip("optuna")
    changed(
        study,
        base={"epochs": 4, "batch_size": 16, "device": "cpu", "optimiser": {"lr": 0.05}},
        seeds=[0],
        search={
            "trials": 8, "sampler": "tpe", "select": "nll", "own": False,
            "space": {"optimiser.lr": {"low": 1e-6, "high": 0.2, "log": True}},
        },
        variants={"joint": {}, "late_fusion": {"method": {"name": "late_fusion"}}},
    )  # fmt: skip
    for out in ("one", "again"):
        sweep(read_study(study), tmp_path / out)
    one, again = (Results(tmp_path / out / RESULTS).read() for out in ("one", "again"))
    assert [(r.params, r.status, r.figures) for r in one] == [(r.params, r.status, r.figures) for r in again]
    trials = [r for r in one if r.kind == "trial"]
    assert len(trials) == 16
    assert all(1e-6 <= t.params["optimiser.lr"] <= 0.2 for t in trials if t.number)
    pruned = [t for t in trials if t.status == "pruned"]
    assert pruned
    assert all(not t.figures and len(t.curve) < 4 and not t.converged for t in pruned)
