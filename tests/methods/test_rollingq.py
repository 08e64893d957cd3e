"""RollingQ by hand: the target, the rotation, and when the query is turned; and what the fusion reads."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.rollingq import rotation, target_direction
from mmbal.models.fusion import build_fusion

Toy = Callable[..., Store]


def test_the_target_is_nearer_to_the_neglected_modality():
    keys, cosines = torch.tensor([[2.0, 0.0], [0.0, 5.0]]), torch.tensor([0.7, 0.2])
    alpha = (1 + math.tanh(-1.5 * 0.5)) / 2
    length = math.hypot(alpha, 1 - alpha)
    found = target_direction(keys, cosines, sigma=1.5).tolist()
    assert found == pytest.approx([alpha / length, (1 - alpha) / length], rel=1e-5)
    three = target_direction(torch.eye(3), torch.tensor([0.5, 0.5, 0.5]), 2.0).tolist()
    assert three == pytest.approx([1 / math.sqrt(3)] * 3)


def test_the_rotation_turns_one_plane_alone():
    source, target = torch.tensor([3.0, 0.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    found = rotation(source, target)
    c = math.cos(math.pi / 4)
    expected = [[c, -c, 0, 0], [c, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float32), atol=1e-6)
    for other in (torch.randn(4), -source):
        turn = rotation(source, other)
        assert torch.allclose(turn @ turn.T, torch.eye(4), atol=1e-5)
        assert torch.det(turn).item() == pytest.approx(1.0, abs=1e-5)
        assert torch.allclose(turn @ source / 3, other / other.norm(), atol=1e-5)


def test_the_class_token_reads_what_is_there():
    fusion = build_fusion("class_token", {"dim": 4}, {"a": 3, "v": 2}, 2)
    inputs = {"a": torch.randn(2, 3, 3), "v": torch.randn(2, 2, 2)}
    inputs["v"][0] = 0
    inputs["a"][1, 2] = 0  # padding
    fusion.rotation.copy_(rotation(torch.randn(4), torch.randn(4)))
    found = fusion.head(inputs)
    for i in range(2):
        tokens = [fusion.token]
        tokens += [fusion.map[m].weight @ x for m in ("a", "v") for x in inputs[m][i] if x.any()]
        q = fusion.rotation @ (fusion.ask.weight @ fusion.token + fusion.ask.bias)
        scores = [float((q @ (fusion.key.weight @ x + fusion.key.bias)).detach()) / 2 for x in tokens]
        weight = [math.exp(s) / sum(map(math.exp, scores)) for s in scores]
        read = sum(w * (fusion.value.weight @ x + fusion.value.bias) for w, x in zip(weight, tokens, strict=True))
        assert torch.allclose(found[i], fusion.out(fusion.read(read)), atol=1e-5)


def session(toy: Toy, **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="rollingq", **options)
    fusion = Choice(name="class_token", dim=8)
    return Session(TrainConfig(data=str(store.path), method=choice, fusion=fusion, epochs=3, device="cpu"))


def test_the_query_is_turned_where_cosines_differ_enough(toy: Toy):
    for beta, turned in ((0.0, True), (2.1, False)):
        run = session(toy, beta=beta, sigma=1.0)
        state, method, fusion = run.run, run.method, run.model.fusion
        method.on_epoch_start(state)
        keys: dict[str, list[torch.Tensor]] = {m: [] for m in run.model.modalities}
        for batch in state.train.epoch(0):
            output = run.model(batch)
            method.on_gradients(output, batch, method.phases(state)[0], state)
            for m, z in output.inputs.items():
                keys[m] += [
                    (torch.stack([fusion.key(fusion.map[m](x)) for x in tokens]).mean(0)).detach() for tokens in z
                ]
        query = fusion.query().detach()
        cosines = torch.stack(
            [torch.stack([query @ k / query.norm() / k.norm() for k in v]).mean() for v in keys.values()]
        )
        means = torch.stack([torch.stack(v).mean(0) for v in keys.values()])
        method.on_epoch_end(state)
        assert bool(method.rotations) == turned
        found = fusion.query().detach()
        if turned:
            assert torch.allclose(found / found.norm(), target_direction(means, cosines, 1.0), atol=1e-4)
            assert found.norm().item() == pytest.approx(query.norm().item(), rel=1e-4)
            method.on_epoch_end(state)  # once is enough
            assert torch.equal(fusion.query(), found)
            assert method.rotations == 1
        else:
            assert torch.equal(found, query)


def test_it_is_for_class_tokens(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    with pytest.raises(ConfigError, match="class_token"):
        Session(TrainConfig(data=str(store.path), method=Choice(name="rollingq")))
