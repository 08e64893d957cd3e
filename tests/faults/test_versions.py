"""A file of a newer mmbal is refused in a sentence that says so, whatever its kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mmbal
from mmbal import runs
from mmbal.data.store.store import Store
from mmbal.decision import calibrate, fit_rule, rule_from_json, rule_to_json
from mmbal.diagnosis import Diagnosis, diagnose
from mmbal.diagnosis.sections.tails import read_tails
from mmbal.engine.checkpoint import read_checkpoint
from mmbal.engine.config import TrainConfig
from mmbal.engine.results import Results
from mmbal.engine.train import resume, train
from mmbal.errors import MmbalError
from mmbal.files import write_tensors
from mmbal.predictions.format import Predictions
from mmbal.report.rules import Rules

SCORES = np.random.default_rng(0).normal(size=(40, 3))
GIVEN = {"labels": np.arange(40) % 3, "logits_a": SCORES, "logits_b": SCORES[::-1]}


def test_predictions(tmp_path):
    Predictions.from_arrays(GIVEN).save(tmp_path / "p.npz")
    found = Predictions.load(tmp_path / "p.npz")
    assert found.meta == {}
    with pytest.raises(MmbalError, match="schema version 2; this mmbal reads 1"):
        Predictions.from_arrays({**GIVEN, "meta": json.dumps({"schema_version": 2})})


def test_a_store(tmp_path):
    np.savez(tmp_path / "f.npz", label=np.arange(20) % 2, a=SCORES[:20])
    store = mmbal.prepare(tmp_path / "f.npz", out=tmp_path / "store").store.path
    meta = json.loads((store / "meta.json").read_text())
    (store / "meta.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(MmbalError, match="store format 99; this mmbal reads"):
        Store.open(store)
    (store / "meta.json").write_text(json.dumps({**meta, "view_of": ".", "base_hash": meta.get("hash")}))
    with pytest.raises(MmbalError):
        Store.open(store)


def test_a_checkpoint(tmp_path):
    write_tensors(tmp_path / "c.pt", {"format": "mmbal.checkpoint.99", "model": {}})
    with pytest.raises(MmbalError, match=r"another version \(mmbal.checkpoint.99\)"):
        read_checkpoint(tmp_path / "c.pt")


def test_a_rule_and_a_diagnosis(tmp_path):
    rule = rule_to_json(fit_rule(GIVEN, "temperature"))
    with pytest.raises(MmbalError, match="has version 99"):
        rule_from_json({**rule, "version": 99})
    diagnose(GIVEN, rule="sum", bootstrap=100).save(tmp_path / "d.json")
    document = json.loads((tmp_path / "d.json").read_text())
    (tmp_path / "d.json").write_text(json.dumps({**document, "schema_version": 99}))
    with pytest.raises(MmbalError, match="it says: 99"):
        Diagnosis.load(tmp_path / "d.json")


VERSIONED = {  # each file of a run's folder -> what its version is read from; None: it is written for people, never read
    "config.yaml": "env.json",
    "env.json": "env.json",
    "metrics.jsonl": "env.json",
    "summary.json": "env.json",
    "checkpoint.pt": "checkpoint",
    "last.pt": "checkpoint",
    "within.pt": "checkpoint",
    "failed.pt": "checkpoint",
    "rule.json": "rule",
    "rules.json": "rules.json",
    "tails.json": "tails.json",
    "diagnosis.json": "diagnosis",
    "CARD.md": None,
    "report.html": None,
}


def test_every_file_of_a_run_has_a_version():
    names = {
        v
        for v in vars(runs).values()
        if isinstance(v, str) and v.endswith((".json", ".jsonl", ".pt", ".yaml", ".md", ".html"))
    }
    assert names - {runs.RECORDS} == set(VERSIONED)  # that one is a sweep's, with a version in each line


def test_a_run_of_a_newer_mmbal(toy, tmp_path):
    given = TrainConfig(data=str(toy({"a": 3, "b": 2}).path), epochs=1, device="cpu", record=["heavy_tails"])
    folder = train(given, out=tmp_path / "run").folder
    changes: tuple[tuple[str, str, Callable[[Path], object]], ...] = (
        ("env.json", "format", resume),
        ("env.json", "format", runs.find_predictions),
        ("tails.json", "format", read_tails),
        ("rules.json", "schema_version", Rules.of),
    )
    (folder / "rules.json").write_text(json.dumps(calibrate(GIVEN, "sum", split="test").to_json()))
    for name, key, read in changes:
        before = (folder / name).read_text()
        assert json.loads(before)[key] == 1
        read(folder)
        (folder / name).write_text(json.dumps({**json.loads(before), key: 2}))
        with pytest.raises(MmbalError, match="has the version 2; this mmbal reads 1"):
            read(folder)
        without = {k: v for k, v in json.loads(before).items() if k != key}
        (folder / name).write_text(json.dumps(without))
        read(folder)  # older files name no version
        (folder / name).write_text(before)


def test_a_record_of_a_sweep_of_a_newer_mmbal(tmp_path):
    (tmp_path / "results.jsonl").write_text(json.dumps({"schema_version": 2, "anything": 1}) + "\n")
    with pytest.raises(MmbalError, match=r"Line 1 of .*results.jsonl has the version 2; this mmbal reads 1"):
        Results(tmp_path / "results.jsonl").read()


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
RULE = rule_to_json(fit_rule(GIVEN, "temperature"))


@settings(max_examples=80, deadline=None)
@example("version", [])  # once a traceback
@given(st.sampled_from(["format", "name", "version", "classes", "modalities", "state"]), PLAIN)
def test_a_rule_with_anything_in_it_ends_in_a_sentence(key, value):
    with suppress(MmbalError):
        rule_from_json({**RULE, key: value})
