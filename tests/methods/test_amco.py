"""AMCo against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.amco import dependence, masked_share

Toy = Callable[..., Store]


def session(toy: Toy, fusion: str = "concat", **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    config = TrainConfig(data=str(store.path), method=Choice(name="amco", **choice), fusion=Choice(name=fusion))
    return Session(config.model_copy(update={"device": "cpu", "epochs": 10}))


def test_dependence_is_the_share_of_the_joint_softmax():
    log = math.log
    found = dependence({"v": torch.tensor([[log(1.0), log(2.0)]]), "a": torch.tensor([[log(4.0), log(3.0)]])})
    assert float(found["a"]) == pytest.approx(0.7)
    assert float(found["v"]) == pytest.approx(0.3)


def test_the_masked_share_grows_as_a_sine_and_stays():
    assert masked_share(0.0, 0.3) == 0.0
    assert masked_share(0.1, 0.3) == pytest.approx(0.5)  # sin(30 degrees)
    assert masked_share(0.3, 0.3) == pytest.approx(1.0)
    assert masked_share(0.9, 0.3, ceiling=0.6) == pytest.approx(0.6)


def test_half_of_the_features_of_the_strong_modality_are_hidden(toy: Toy):
    made = session(toy, own=0.5)
    made.model.fusion.weights["audio"].data.mul_(20.0)
    made.run.epoch = 1  # of 10, with eps = 0.3: half of the entries
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    found = made.method.losses(output, batch, made.method.phases(made.run)[0], made.run)
    hidden = made.method.masked(output, made.run)
    shares = {m: made.run.records[f"masked_share/{m}"][0] for m in ("audio", "video")}
    assert sorted(shares.values()) == [0.0, pytest.approx(0.5)]
    strong = max(shares, key=shares.get)
    gone = (hidden.inputs[strong] == 0).all(dim=0) & (output.inputs[strong] != 0).any(dim=0)
    assert int((hidden.inputs[strong] != output.inputs[strong]).any(dim=0).sum()) == int(gone.sum()) <= 32
    weak = "video" if strong == "audio" else "audio"
    assert torch.equal(hidden.inputs[weak], output.inputs[weak])
    fused = sum(hidden.inputs[m] @ made.model.fusion.weight(m).T for m in shares) + made.model.fusion.shared_bias
    assert float(found["fused"].detach()) == pytest.approx(float(cross_entropy(fused, batch.labels).detach()), rel=1e-4)
    own = float(cross_entropy(output.logits[strong], batch.labels).detach())  # of the whole modality
    assert float(found[f"own/{strong}"].detach()) == pytest.approx(0.5 * own, rel=1e-5)


def test_logits_can_be_hidden_where_the_fusion_is_additive(toy: Toy):
    made = session(toy, mask="logits")
    made.run.epoch = 9
    output = made.model(next(made.run.train.epoch(0)))
    hidden = made.method.masked(output, made.run)
    (weak,) = [m for m in ("audio", "video") if made.run.records[f"masked_share/{m}"][-1] == 0]
    assert torch.allclose(hidden.fused, output.contribution[weak])  # all of the other is hidden
    other = session(toy, "gated", mask="logits")
    other.run.epoch = 9
    with pytest.raises(ConfigError, match="additive"):
        other.method.masked(other.model(next(other.run.train.epoch(0))), other.run)
