"""EAU by hand: weights from variances, the contrast of two draws, the divergence, and the decision."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.parts.eau import contrast, divergence_from_normal, variance_weights

Toy = Callable[..., Store]


def test_weights_are_inverse_variances_or_the_softmax_of_their_negatives():
    variance = {"a": torch.tensor([[1.0, 0.5]]), "b": torch.tensor([[3.0, 0.5]]), "c": torch.tensor([[2.0, 2.0]])}
    log = {m: v.log() for m, v in variance.items()}
    everyone = dict.fromkeys("abc", torch.tensor([True]))
    found = variance_weights(log, everyone)
    whole = 1 + 1 / 3 + 1 / 2
    assert found["a"][0].tolist() == pytest.approx([1 / whole, 2 / 4.5])
    assert found["b"][0].tolist() == pytest.approx([1 / 3 / whole, 2 / 4.5])
    two = {m: log[m] for m in "ab"}
    found = variance_weights(two, everyone, "softmax")
    # The public code's form for two: each weight is the softmax share of the other's variance.
    assert found["a"][0].tolist() == pytest.approx([math.exp(3) / (math.exp(3) + math.exp(1)), 0.5])
    gone = variance_weights(log, everyone | {"a": torch.tensor([False])})
    assert gone["a"][0].tolist() == [0, 0]
    assert gone["b"][0].tolist() == pytest.approx([(1 / 3) / (1 / 3 + 1 / 2), 2 / 2.5])
    nobody = variance_weights(log, dict.fromkeys("abc", torch.tensor([False])))
    assert all(w.abs().sum() == 0 for w in nobody.values())


@pytest.mark.parametrize("within", [True, False])
def test_the_contrast_compares_draws_of_both_kinds(within: bool):
    one = [[1.0, 0.0], [3.0, 4.0], [0.0, -2.0]]
    two = [[1.0, 1.0], [0.0, 5.0], [2.0, 0.0]]

    def e(x: list[float], y: list[float]) -> float:
        return math.exp(sum(i * j for i, j in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y) / 0.5)

    def direction(z: list[list[float]], w: list[list[float]], i: int) -> float:
        second = sum(e(z[i], (z if within else w)[k]) for k in range(3) if k != i)
        return -math.log(e(z[i], w[i]) / (sum(e(z[i], w[k]) for k in range(3)) + second))

    expected = [(direction(one, two, i) + direction(two, one, i)) / 2 for i in range(3)]
    found = contrast(torch.tensor(one), torch.tensor(two), 0.5, within)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_the_divergence_from_the_standard_normal():
    mean, variance = torch.tensor([[1.0, -2.0], [0.0, 0.0]]), torch.tensor([[0.5, 2.0], [1.0, 1.0]])
    expected = (0.5 + 1 - 1 - math.log(0.5)) / 2 + (2 + 4 - 1 - math.log(2)) / 2
    assert divergence_from_normal(mean, variance.log()).tolist() == pytest.approx([expected, 0.0])


def session(toy: Toy, **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="eau", **options), epochs=2, device="cpu"))


def test_the_decision_is_that_of_the_weighted_means(toy: Toy):
    run = session(toy, dim=4)
    method = run.method
    batch = next(run.run.train.epoch(0))
    batch.present["text"][:6] = False
    output = method.fuse(run.model(batch))
    for i in range(0, len(batch), 3):
        have = [m for m in run.model.modalities if batch.present[m][i]]
        z = {m: run.model.encoders[m](batch.inputs[m][i : i + 1]) for m in have}
        precision = {m: 1 / method.spread[m](z[m]).exp() for m in have}
        whole = sum(precision.values())
        h = sum(precision[m] / whole * method.mean[m](z[m]) for m in have)
        assert torch.allclose(output.fused[i], method.out(h)[0], atol=1e-5)
        for m in have:
            assert torch.allclose(output.logits[m][i], method.out(method.mean[m](z[m]))[0], atol=1e-5)
    assert torch.allclose(sum(output.contribution.values()), output.fused, atol=1e-5)
    found = method.losses(output, batch, method.phases(run.run)[0], run.run)
    assert set(found) == {"fused", "bottleneck", *(f"{t}/{m}" for t in ("contrast", "bottleneck") for m in z)}
    assert found["fused"].item() == pytest.approx(cross_entropy(output.fused, batch.labels).item())
    rows = batch.present["text"]
    feature = output.features["text"][rows]
    kept = divergence_from_normal(method.mean["text"](feature), method.spread["text"](feature)).mean().item()
    assert found["bottleneck/text"].item() == pytest.approx(1e-3 * kept, rel=1e-4)


def test_draws_have_the_deviation_that_is_stated(toy: Toy):
    from mmbal.models.whole_batch import WholeBatch

    mean, log_variance = torch.full((160, 200), 2.0), torch.full((160, 200), math.log(9.0))
    for terms, deviation in (("paper", 3.0), ("code", 9.0)):
        run = session(toy, terms=terms)
        whole = WholeBatch(torch.arange(160), len(run.run.train.store), run.run.sum)
        drawn = run.method.draw("x", mean, log_variance, whole, run.run)
        assert drawn.std().item() == pytest.approx(deviation, rel=0.05)
        assert drawn.mean().item() == pytest.approx(2.0, abs=0.2)
