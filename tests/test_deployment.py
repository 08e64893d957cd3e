"""A stored rule at work: `load_rule`, `mmbal apply`, `mmbal export`, and what `mmbal calibrate` says is next."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
from terminal import as_json, ok, refused
from worlds import modular

import mmbal
from mmbal.errors import ConfigError
from mmbal.predictions.format import Predictions


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A file of a model that is far too sure of itself, and the rule that was stored beside it."""
    monkeypatch.chdir(tmp_path)
    data = modular(n=90, c=3)
    split = np.where(np.arange(90) < 60, "calibration", "test")
    replace(data, fused=3 * data.fused, split=split).save(tmp_path / "mine.npz")
    said = ok("calibrate", "mine.npz", "--rule", "temperature")
    commands = [line.split("  ")[1] for line in said.splitlines() if line.startswith("  mmbal")]
    assert [shlex.split(command)[:3] for command in commands] == [
        ["mmbal", "apply", "mine.rule.json"],
        ["mmbal", "export", "mine.rule.json"],
    ]
    for command in commands:
        ok(*shlex.split(command)[1:])
    return tmp_path


def write(path, data, **more):
    arrays = {f"logits_{m}": x for m, x in data.logits.items()} | {"fused": 3 * data.fused}
    np.savez(path, **(arrays | more))


def test_new_samples_are_decided_with_and_without_labels(stored):
    new = modular(n=40, seed=1, c=3)
    write("new.npz", new)
    write("labelled.npz", new, labels=new.labels)
    rule = mmbal.load_rule("mine.npz")  # the rule beside it
    # the temperature of fused, by hand
    scores = rule.parameters["beta"][0] * 3 * new.fused
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    told = as_json("apply", "mine.rule.json", "new.npz")
    found = [[row["probabilities"][c] for c in new.classes] for row in told["rows"]]
    np.testing.assert_allclose(found, p, atol=1e-5)
    assert [row["decision"] for row in told["rows"]] == [new.classes[k] for k in p.argmax(axis=1)]
    assert told["gain"] is None
    right = (p.argmax(axis=1) == new.labels).mean()
    told = as_json("apply", "mine.rule.json", "labelled.npz", "--out", "out.npz")
    assert told["accuracy"]["value"] == pytest.approx(right)
    assert told["gain"]["value"] == 0  # a temperature changes no decision
    kept = Predictions.load("out.npz")
    np.testing.assert_allclose(np.exp(kept.fused), p, atol=1e-5)
    assert kept.meta["rule"] == "temperature"
    assert "decided 40 samples." in ok("apply", "mine.rule.json", "new.npz")


def test_samples_that_a_rule_may_be_fitted_on_do_not_judge_it(stored):
    """The first ten are calibration samples, with labels that no decision has right."""
    new = modular(n=40, seed=1, c=3)
    wrong = new.fused[:10].argmin(axis=1)
    labels = np.concatenate([wrong, new.labels[10:]])
    write("both.npz", new, labels=labels, split=np.repeat(["val", "test"], [10, 30]))
    told = as_json("apply", "mine.rule.json", "both.npz")
    assert (told["judged"], len(told["rows"])) == (30, 40)
    assert told["accuracy"]["value"] == pytest.approx((new.fused[10:].argmax(axis=1) == new.labels[10:]).mean())
    assert "of the 30 samples that no rule is fitted on" in told["sentence"]
    write("fitted.npz", new, labels=labels, split=np.repeat(["val"], 40))
    told = as_json("apply", "mine.rule.json", "fitted.npz")
    assert (told["judged"], told["accuracy"], len(told["rows"])) == (0, None, 40)


def test_a_csv_without_labels_is_decided_to_a_csv(stored):
    header = "id," + ",".join(f"{m}:{c}" for m in ("a", "b", "fused") for c in "012")
    (stored / "new.csv").write_text(f"{header}\nx,1,2,3,0,0,0,3,-1,5\ny,,,,0,0,1,9,2,-3\n")
    said = ok("apply", "mine.rule.json", "new.csv", "--scores", "logits", "--out", "out.csv")
    assert "decided 2 samples, 1 of them with a missing modality." in said
    lines = (stored / "out.csv").read_text().splitlines()
    assert lines[0] == "id,decision,fused:0,fused:1,fused:2"
    assert [line.split(",")[:2] for line in lines[1:]] == [["x", "2"], ["y", "0"]]
    refused(2, "apply", "mine.rule.json", "new.csv", "--out", "out.csv")


def test_what_does_not_fit_is_one_sentence(stored):
    new = modular(n=20, seed=1, c=3)
    write("names.npz", new, classes=np.array(["x", "y", "z"]), labels=new.labels)
    assert "fitted for other classes (0, 1, 2) than those given (x, y, z)" in " ".join(
        refused(5, "apply", "mine.rule.json", "names.npz").split()
    )
    write("more.npz", new, logits_c=new.fused)
    with pytest.raises(ConfigError, match="fitted for a, b, but there is also a modality 'c'"):
        mmbal.apply_rule(mmbal.fit_rule(new, "mean"), "more.npz")
    np.savez("bare.npz", **{f"logits_{m}": x for m, x in new.logits.items()})
    assert "needs the model's own decision" in refused(5, "apply", "mine.rule.json", "bare.npz")
    assert "bare.rule.json is not there" in refused(2, "apply", "bare.npz", "mine.npz")
    (stored / "other.json").write_text("{}")
    assert "not a stored decision rule" in refused(5, "apply", "other.json", "mine.npz")


def test_export_by_the_command(stored):
    told = as_json("export", "mine.rule.json", "--out", "rule.json")
    assert told["format"] == "json"
    assert told["difference"] < 1e-9
    assert json.loads((stored / "rule.json").read_text())["linear"]["inputs"] == "logits"
    assert "already" in refused(2, "export", "mine.rule.json", "--out", "rule.json")
