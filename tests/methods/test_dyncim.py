"""DynCIM by hand: gates, the easy-first weights and their end, and the modality curriculum over epochs."""

import json
import math

import pytest
import torch

from mmbal.data.store.loader import Batch
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import train
from mmbal.errors import ConfigError
from mmbal.methods.parts.dyncim import gates
from mmbal.models.multimodal import Output


def test_gates_by_hand():
    scores = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0], [5.0, -5.0], [1.0, 2.0]])
    present = torch.tensor([[True, True], [True, True], [False, True], [False, False]])
    found = gates(scores, present).tolist()
    for row, expected in zip(found, [[0.5, 1.5], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], strict=True):
        assert row == pytest.approx(expected)


@pytest.fixture
def session(toy):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(
        data=str(store.path), method=Choice(name="dyncim", kappa=2.0, ramp=0.5), epochs=8, device="cpu"
    )
    return Session(config)


def batch_and_output(p_fused):
    fused = torch.tensor([[math.log(p), math.log(1 - p)] for p in p_fused])
    everyone = torch.ones(len(p_fused), dtype=torch.bool)
    present = {"audio": everyone, "video": everyone}
    output = Output({}, {"audio": fused, "video": fused}, fused, None, present)
    return Batch({}, torch.zeros(len(p_fused), dtype=torch.int64), torch.arange(len(p_fused)), present), output


def test_hard_samples_count_less_at_first_and_alike_from_half_way(session):
    method, run = session.method, session.run
    batch, output = batch_and_output([0.9, 0.6])
    # consistency and stability are zero in both rows, so difficulty is deviation: .1 and .4
    for epoch, left in ((0, 1.0), (2, 0.5), (4, 0.0), (7, 0.0)):
        run.epoch = epoch
        easy, hard = math.exp(-2 * left * 0.1), math.exp(-2 * left * 0.4)
        expected = [2 * easy / (easy + hard), 2 * hard / (easy + hard)]
        assert method.sample_weights(output, batch, run).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_losses_of_an_epoch_set_the_next_ones_emphasis(session):
    method, run = session.method, session.run
    run.epoch = 7  # all samples alike
    for p_audio, p_video, p_fused in ((0.4, 0.4, 0.4), (0.7, 0.5, 0.8)):
        batch, output = batch_and_output([p_fused] * 3)
        rows = {"audio": p_audio, "video": p_video}
        logits = {m: torch.tensor([[math.log(p), math.log(1 - p)]] * 3) for m, p in rows.items()}
        method.on_epoch_start(run)
        losses = method.losses(Output({}, logits, output.fused, None, output.present), batch, None, run)
        if p_fused == 0.4:
            assert float(losses["own/video"]) == pytest.approx(-math.log(0.4), rel=1e-5)  # before: lambda
        method.on_epoch_end(run)
    rates = {m: 1 - math.log(p) / math.log(0.4) for m, p in {"audio": 0.7, "video": 0.5}.items()}
    harmonic = 2 / sum(1 / r for r in rates.values())
    behind = 1 - math.sqrt(math.log(0.8) / math.log(0.7) * math.log(0.8) / math.log(0.5))
    expected = [behind * harmonic / rates[m] for m in ("audio", "video")]
    assert method.emphasis.tolist() == pytest.approx(expected, rel=1e-4)
    assert method.sample_loss[:4].tolist() == pytest.approx([-math.log(0.8)] * 3 + [math.nan], nan_ok=True, rel=1e-5)


def test_the_gate_starts_as_the_plain_sum_and_learns(toy, tmp_path):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="dyncim"), epochs=2, device="cpu")
    session = Session(config)
    batch = next(session.run.train.epoch(0))
    plain = session.model(batch)
    assert torch.equal(session.method.fuse(plain).fused, plain.fused)
    result = train(config, out=tmp_path / "run")
    content = torch.load(result.folder / "last.pt", weights_only=True)
    assert content["method"]["gate.weight.audio"].abs().sum() > 0
    *_, last = (json.loads(line)["train"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert {"deviation", "consistency", "stability", "emphasis/audio", "emphasis/video"} <= last.keys()


def test_a_gate_needs_votes_to_gate(toy):
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="dyncim"), fusion=Choice(name="film"), device="cpu")
    with pytest.raises(ConfigError, match="additive"):
        Session(config)
    Session(config.model_copy(update={"method": Choice(name="dyncim", gate=False)}))
