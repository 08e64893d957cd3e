"""MMCosine by hand: two classes, two features, and what lengths and absent modalities do."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.errors import ConfigError
from mmbal.methods.mmcosine import cosine_logits

Toy = Callable[..., Store]


def test_cosines_are_those_of_the_angles():
    features = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    weight = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = [[10 * 3 / 5, 10 * 7 / (5 * math.sqrt(2))], [0.0, 10 * 2 / (2 * math.sqrt(2))], [0.0, 0.0]]
    assert torch.allclose(cosine_logits(features, weight, scale=10.0), torch.tensor(expected))


def test_a_longer_feature_or_weight_decides_no_more():
    features, weight = torch.randn(5, 8), torch.randn(3, 8)
    assert torch.allclose(
        cosine_logits(100 * features, 7 * weight, 10.0), cosine_logits(features, weight, 10.0), atol=1e-5
    )


@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_the_decision_is_the_sum_and_an_absent_modality_adds_nothing(modalities: int, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    store = toy(dict.fromkeys(names, 4), rows=64)
    run = Session(TrainConfig(data=str(store.path), method=Choice(name="mmcosine", scale=5.0), device="cpu"))
    batch = next(run.run.train.epoch(0))
    batch.present["m0"][:4], batch.inputs["m0"][:4] = False, 0
    output = run.method.fuse(run.model(batch))
    assert not output.contribution["m0"][:4].any()
    for i in (0, 9):
        expected = torch.zeros(3)
        for m in names:
            z = output.features[m][i]
            for c in range(3):
                w = run.model.fusion.weight(m)[c]
                norm = float((z.norm() * w.norm()).detach())
                expected[c] += 5.0 * float((w @ z).detach()) / norm if norm else 0.0
        assert torch.allclose(output.fused[i], expected, atol=1e-5)


def test_a_fusion_without_weights_is_refused(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    with pytest.raises(ConfigError, match="additive"):
        Session(TrainConfig(data=str(store.path), method=Choice(name="mmcosine"), fusion=Choice(name="film")))
