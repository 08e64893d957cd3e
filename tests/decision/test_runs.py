"""A run whose fusion is not additive: calibrated, decided by the stored rule, diagnosed, and put back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from terminal import as_json, ok

from mmbal.data.store.store import Store
from mmbal.decision import fit_rule, rule_from_json, rule_to_json
from mmbal.decision.fused import with_rule
from mmbal.diagnosis import diagnose
from mmbal.engine.checkpoint import attach_rule, detach_rule, load_model
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.decisions import loader_of
from mmbal.engine.evaluate import collect
from mmbal.engine.train import train
from mmbal.predictions.format import Predictions
from mmbal.runs import find_predictions


def trained(toy, out: Path, fusion: str, **options) -> Path:
    store = toy({"audio": 6, "video": 4}, rows=240)
    config = TrainConfig(
        data=str(store.path), fusion=Choice(name=fusion, **options), epochs=2, batch_size=32, device="cpu"
    )
    return train(config, out=out).folder


def raw(folder: Path) -> Predictions:
    return Predictions.concatenate(
        [Predictions.load(folder / "predictions" / f"{split}.npz") for split in ("val", "test")]
    )


@pytest.mark.parametrize("fusion", ["film", "gated"])
def test_a_stored_rule_takes_the_decision_of_the_model(fusion, toy, tmp_path):
    folder = trained(toy, tmp_path / "run", fusion)
    model = raw(folder)
    rule = fit_rule(model.select("val"), "classwise")
    assert rule.takes_fused
    attach_rule(folder, rule_to_json(rule))
    found = find_predictions(folder)
    np.testing.assert_allclose(
        found.select("test").fused, rule.apply(model.select("test")), atol=1e-6
    )  # kept as float32
    np.testing.assert_allclose(sum(found.contribution.values()), found.fused, atol=1e-6)
    # the loaded model's forward, then its rule: the same decision
    loaded = load_model(folder)
    store = Store.open(loaded.config.data)
    loader = loader_of(loaded.config, store, "test", torch.device("cpu"))
    batch = next(iter(loader.epoch(0)))
    with torch.no_grad():
        output = loaded.method.predict(loaded.model(batch))
    decided = loaded.rule.apply({**output.logits, "fused": output.fused}, present=output.present)
    rows = [found.ids.tolist().index(i) for i in store.ids[batch.index.numpy()]]
    np.testing.assert_allclose(decided.numpy(), found.fused[rows], atol=1e-4)
    again = collect(loaded.model, loaded.method, loader, torch.device("cpu"))
    np.testing.assert_allclose(with_rule(again, loaded.rule, "x").fused, found.select("test").fused, atol=1e-4)
    # what a rule could still gain: nothing, it is the rule that is stored
    gap = diagnose(found, rule="classwise").decision_gap
    assert (gap.accuracy.value, gap.nats.value) == pytest.approx((0, 0), abs=1e-6)


def test_calibrate_compares_with_the_model_also_where_a_rule_is_stored(toy, tmp_path):
    folder = trained(toy, tmp_path / "run", "film")

    first = as_json("calibrate", folder, "--rule", "bias", "--force")
    assert first["stored"] == str(folder)
    second = as_json("calibrate", folder, "--rule", "bias")
    assert second["cross_fitted"] == first["cross_fitted"]
    stored = rule_from_json(json.loads((folder / "rule.json").read_text()))
    on_test = find_predictions(folder).select("test")  # on the validation split decisions are cross-fitted
    np.testing.assert_allclose(stored.apply(raw(folder).select("test")), on_test.fused, atol=1e-6)
    assert "Removed the rule" in ok("calibrate", folder, "--remove")
    assert not (folder / "rule.json").exists()
    assert load_model(folder).rule is None
    np.testing.assert_array_equal(find_predictions(folder).fused, raw(folder).fused)
    assert not detach_rule(folder)


def test_a_fusion_that_decides_by_a_rule_keeps_one(toy, tmp_path):
    folder = trained(toy, tmp_path / "run", "adaptive", rule="pool")
    assert not load_model(folder).rule.takes_fused
    assert not detach_rule(folder)
    assert not load_model(folder).rule.takes_fused


def test_a_fusion_with_a_rule_takes_the_parts_whatever_the_method_decides(toy, tmp_path):
    """AUG weighs the modalities, so its decision is not the sum of their logits; the rule of the fusion replaces it."""
    store = toy({"audio": 6, "video": 4}, rows=240)
    config = TrainConfig(
        data=str(store.path),
        method=Choice(name="aug"),
        fusion=Choice(name="adaptive", rule="bias"),
        epochs=1,
        batch_size=32,
        device="cpu",
    )
    folder = train(config, out=tmp_path / "run").folder
    rule = load_model(folder).rule
    assert rule.modalities == ("audio", "video")
    on_test = find_predictions(folder).select("test")  # on the validation split decisions are cross-fitted
    np.testing.assert_allclose(on_test.fused, rule.apply(raw(folder).select("test")), atol=1e-6)
