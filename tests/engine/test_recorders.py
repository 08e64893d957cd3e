"""Recorders see the run and do not touch it; norms are checked against a run followed by hand."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.recorders import HeavyTails, pooled_tail
from mmbal.engine.session import Session
from mmbal.engine.train import resume, train
from mmbal.errors import UsageError
from mmbal.files import read_tensors
from mmbal.maths.tails import hill


@pytest.fixture
def config(toy):
    store = toy({"audio": 6, "video": 4}, rows=160)
    return TrainConfig(data=str(store.path), epochs=2, batch_size=8, record=("heavy_tails",), device="cpu")


def test_recording_changes_no_bit_of_the_run(config, tmp_path):
    train(config, out=tmp_path / "with")
    train(config.model_copy(update={"record": ()}), out=tmp_path / "without")
    seen, unseen = (read_tensors(tmp_path / name / "last.pt")["model"] for name in ("with", "without"))
    assert all(torch.equal(seen[key], unseen[key]) for key in unseen)
    assert not (tmp_path / "without" / "tails.json").exists()


def test_figures_by_epoch_and_a_summary_by_modality(config, tmp_path):
    train(config, out=tmp_path / "run")
    first, *_ = (json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    for kind in ("gradient_noise", "update_norm", "weight_norm"):
        assert first["train"][f"{kind}/audio"] > 0
    found = json.loads((tmp_path / "run" / "tails.json").read_text())
    for kind in ("update_norm", "gradient_noise"):
        for m in ("audio", "video"):
            assert found[kind][m]["low"] < found[kind][m]["value"] < found[kind][m]["high"]


def test_norms_of_one_epoch_of_plain_sgd_by_hand(config):
    config = config.model_copy(
        update={"epochs": 1, "optimiser": OptimiserConfig(lr=0.1, momentum=0.0, weight_decay=0.0)}
    )
    gradients = []

    class Watch(HeavyTails):
        def after_backward(self, run):
            gradients.append(
                torch.cat([p.grad.flatten() for p in run.model.encoders["audio"].parameters()]).double().clone()
            )
            super().after_backward(run)

    session = Session(config)
    watch = session.recorders["heavy_tails"] = Watch()
    session.fit()
    (updates,), (noise,) = watch.epochs["update_norm/audio"], watch.epochs["gradient_noise/audio"]
    expected = [0.1 * g.norm() for g in gradients]
    assert torch.allclose(updates.double(), torch.stack(expected), rtol=1e-3)
    pairs = [(b - a).norm() / 2**0.5 for a, b in pairwise(gradients)]
    assert torch.allclose(noise.double(), torch.stack(pairs), rtol=1e-4)


def test_a_changing_scale_is_no_tail():
    light = torch.from_numpy(1 + np.random.default_rng(0).random(100)).float()
    epochs = [light * 1.5**e for e in range(20)]
    steady, drifting = pooled_tail([light] * 20), pooled_tail(epochs)
    assert drifting.value == pytest.approx(steady.value, rel=1e-4)
    assert hill(torch.cat(epochs).numpy()).value < 0.2 * steady.value


def test_a_resumed_run_records_as_one_piece(config, tmp_path):
    config = config.model_copy(update={"optimiser": OptimiserConfig(schedule="constant")})
    train(config.model_copy(update={"epochs": 4}), out=tmp_path / "whole")
    train(config, out=tmp_path / "parts")
    resume(tmp_path / "parts", epochs=4)
    whole, parts = ((tmp_path / name / "tails.json").read_text() for name in ("whole", "parts"))
    assert whole == parts


def test_a_frozen_encoder_has_no_tail_and_an_unknown_recorder_is_refused(config, tmp_path):
    train(config.model_copy(update={"freeze_encoders": True}), out=tmp_path / "frozen")
    found = json.loads((tmp_path / "frozen" / "tails.json").read_text())
    assert found["update_norm"] == {}
    with pytest.raises(UsageError, match="heavy_tail"):
        train(config.model_copy(update={"record": ("heavy_tail",)}), out=tmp_path / "none")


def test_a_method_that_trains_one_modality_at_a_step_is_recorded_where_it_learns(config, tmp_path):
    train(
        config.model_copy(update={"method": Choice(name="unimodal"), "fusion": Choice(name="sum")}), out=tmp_path / "u"
    )
    found = json.loads((tmp_path / "u" / "tails.json").read_text())
    assert set(found["gradient_noise"]) == {"audio", "video"}
