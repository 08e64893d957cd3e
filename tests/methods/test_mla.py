"""MLA by hand: the recursion of the projection, whose gradient it changes, and the decision."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.loop import forward
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.mla import forgetting, recursive_projection

Toy = Callable[..., Store]


def session(toy: Toy, dims: dict[str, int], **options: object) -> Session:
    choice = Choice(name="mla", **options)
    return Session(TrainConfig(data=str(toy(dims).path), method=choice, epochs=2, device="cpu"))


def test_a_direction_is_taken_out():
    found = recursive_projection(torch.eye(2), torch.tensor([3.0, 4.0]), alpha=5.0)
    # k = r, r.r = 25: I - r r^T / 30
    assert found.flatten().tolist() == pytest.approx([1 - 9 / 30, -12 / 30, -12 / 30, 1 - 16 / 30])
    again = recursive_projection(found, torch.tensor([1.0, 0.0]), alpha=0.3)
    # k = (0.7, -0.4), r.k = 0.7
    expected = [0.7 - 0.49 / 1.0, -0.4 + 0.28 / 1.0, -0.4 + 0.28 / 1.0, 14 / 30 - 0.16 / 1.0]
    assert again.flatten().tolist() == pytest.approx(expected)
    direction = torch.tensor([3.0, 4.0])
    assert float((recursive_projection(torch.eye(2), direction, 1e-9) @ direction).norm()) < 1e-5


def test_alpha_falls_tenfold_over_an_epoch():
    assert [forgetting(b, 4) for b in (0, 2, 4)] == pytest.approx([0.1, 0.1**1.5, 0.01])


@pytest.mark.parametrize("kind", ["paper", "code"])
def test_the_head_s_gradient_and_no_other_is_projected(kind: str, toy: Toy):
    run = session(toy, {"audio": 6, "video": 4}, projection=kind)
    method, state = run.method, run.run
    method.on_epoch_start(state)
    batch = next(state.train.epoch(0))
    batch.present["video"][:7], batch.inputs["video"][:7] = False, 0
    projection = torch.eye(64)
    for position, m in enumerate(["audio", "video", "audio"]):
        state.step = position
        method.zero_grad()
        run.model.zero_grad()
        phase = method.phases(state)[position % 2]
        output, losses = forward(state, method, batch, phase, run.config)
        assert list(losses) == [f"own/{m}"]
        losses[f"own/{m}"].backward()
        before, bias = method.head.weight.grad.clone(), method.head.bias.grad.clone()
        rows = batch.present[m].nonzero().flatten().tolist()
        mean = sum(output.features[m][i].detach() for i in rows) / len(rows)
        along = projection @ mean
        alpha = 0.1 ** (1 + (position // 2) / len(state.train))
        below = alpha + (along[:, None] * mean[None, :] if kind == "code" else (mean * along).sum())
        fresh = projection - along[:, None] * along[None, :] / below
        method.on_gradients(output, batch, phase, state)
        if kind == "paper":
            expected, projection = before @ projection, fresh
        elif position == 0:
            expected = before
        else:
            projection = fresh / math.sqrt(float((fresh**2).sum()))
            expected = before @ projection.T
        assert torch.allclose(method.head.weight.grad, expected, atol=1e-5)
        assert torch.equal(method.head.bias.grad, bias)
        assert torch.allclose(method.projection, projection, atol=1e-5)


def test_a_step_runs_one_encoder(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    run = session(toy, {"audio": 6, "text": 5, "video": 4})
    calls = []
    for m, encoder in run.model.encoders.items():
        original = encoder.tokens
        monkeypatch.setattr(encoder, "tokens", lambda x, m=m, original=original: calls.append(m) or original(x))
    batch = next(run.run.train.epoch(0))
    for phase in run.method.phases(run.run):
        output, _ = forward(run.run, run.method, batch, phase, run.config)
        (m,) = phase.modalities
        assert {n for n, z in output.features.items() if z.any()} == {m}
    assert calls == ["audio", "text", "video"]


def test_the_surer_modality_decides_more_and_an_absent_one_not_at_all(toy: Toy):
    run = session(toy, {"audio": 6, "text": 5, "video": 4})
    batch = next(run.run.train.epoch(0))
    batch.present["video"][:4], batch.inputs["video"][:4] = False, 0
    output = run.method.fuse(run.model(batch))
    for i in (0, 20):
        names = [m for m in ("audio", "text", "video") if bool(batch.present[m][i])]
        weight = {}
        for m in names:
            p = output.logits[m][i].detach().softmax(dim=0).tolist()
            weight[m] = math.exp(sum(q * math.log(q) for q in p))
        expected = sum(weight[m] / sum(weight.values()) * output.logits[m][i] for m in names)
        assert torch.allclose(output.fused[i], expected, atol=1e-5)
    fixed = session(toy, {"audio": 6, "video": 4}, weights={"audio": 0.55, "video": 0.45})
    output = fixed.method.fuse(fixed.model(next(fixed.run.train.epoch(0))))
    assert torch.allclose(output.fused, 0.55 * output.logits["audio"] + 0.45 * output.logits["video"], atol=1e-6)
    with pytest.raises(ConfigError, match="smell"):
        session(toy, {"audio": 6, "video": 4}, weights={"smell": 1.0})


def test_features_of_one_width_go_straight_to_the_head(toy: Toy):
    run = session(toy, {"audio": 6, "video": 4})
    assert not run.method.map  # both encoders give 64 numbers
    before = run.model.fusion.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    run.fit()
    assert all(torch.equal(value, run.model.fusion.state_dict()[key]) for key, value in before.items())
