"""AIM against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store import ModalitySpec, Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.train import Session
from mmbal.maths.prototypes import fisher_ratio, nearest_class
from mmbal.methods.aim import strengths
from mmbal.models.encoders import build_encoder
from mmbal.models.prototypes import ScoredPrototypes
from mmbal.models.stages import by_sample, watch, widths

Toy = Callable[..., Store]
DIMS = {"audio": 6, "video": 4}


def session(toy: Toy, **options: object) -> Session:
    return Session(TrainConfig(data=str(toy(DIMS).path), method=Choice(name="aim", **options), epochs=2, device="cpu"))


def test_strength_follows_the_gap_to_the_weakest_at_the_same_depth():
    found = strengths({"audio": [0.5, 0.9], "video": [0.4, 0.3]}, alpha=2.0)
    assert found["audio"] == pytest.approx([math.tanh(0.2), math.tanh(1.2)])
    assert found["video"] == [0.0, 0.0]
    # A quarter, a half... of four stages fall on the first, first, second and second of two.
    found = strengths({"a": [0.5, 0.6, 0.7, 0.8], "b": [0.3, 0.9]}, alpha=1.0)
    assert found["a"] == pytest.approx([math.tanh(0.2), math.tanh(0.3), 0.0, 0.0])
    assert found["b"] == pytest.approx([0.0, math.tanh(0.1)])
    found = strengths({"a": [0.5], "b": [0.3], "c": [None]}, alpha=1.0)  # what is not known is not weak
    assert found["a"] == pytest.approx([math.tanh(0.2)])
    assert found["c"] == [0.0]
    assert strengths({"audio": [0.5], "video": [0.5]}, alpha=9.0) == {"audio": [0.0], "video": [0.0]}


def test_the_nearest_prototype_by_variance_within_classes():
    prototypes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 1.0]])
    seen = torch.tensor([True, True, False])
    x = torch.tensor([[1.9, 0.0], [2.1, 9.0]])
    assert nearest_class(x, prototypes, seen, torch.ones(2)).tolist() == [0, 1]
    # between: variance of 0 and 4 is 4, of 0 and 0 is 0; the unseen class takes no part
    assert fisher_ratio(prototypes, seen, torch.tensor([2.0, 1.0])).tolist() == [2.0, 0.0]


def test_prototypes_are_scored_before_they_move():
    probe = ScoredPrototypes(classes=2, width=2, momentum=0.5)
    labels, rows = torch.tensor([0, 1, 1]), torch.tensor([True, True, False])

    def total(value: torch.Tensor) -> torch.Tensor:
        return value

    probe.update(torch.tensor([[0.0, 0.0], [4.0, 0.0], [99.0, 99.0]]), labels, rows, total)
    assert probe.accuracy is None  # no class was known
    assert probe.spread.tolist() == [1.0, 1.0]
    assert probe.mean.tolist() == [[0.0, 0.0], [4.0, 0.0]]
    probe.update(torch.tensor([[1.0, 2.0], [1.0, 0.0], [99.0, 99.0]]), labels, rows, total)
    assert probe.accuracy == 0.5  # both are nearer to class 0, the second wrongly
    assert probe.spread.tolist() == [5.0, 2.0]  # (1 + 9) / 2 and (4 + 0) / 2
    assert probe.mean.tolist() == [[0.5, 1.0], [2.5, 0.0]]
    assert probe.best_units(0.5).tolist() == [True, False]  # variance between 1 and 0.25: ratios 1/5 and 1/8
    probe.update(torch.tensor([[0.5, 1.0], [99.0, 99.0], [99.0, 99.0]]), labels, labels == 0, total)
    assert probe.accuracy == pytest.approx((0.5 * 1 + 1) / (0.5 * 2 + 1))


def test_only_learned_units_of_drawn_rows_are_quietened(toy: Toy):
    run = session(toy, block=0.5)
    method = run.method
    batch = next(run.run.train.epoch(0))
    encoder = run.model.encoders["audio"]
    plain = encoder.stages[0](batch.inputs["audio"][:, None])[:, 0].detach()
    method.strength = {"audio": [0.75, 0.0], "video": [0.0, 0.0]}
    drawn = torch.arange(len(batch)) % 2 == 0
    method.drawn = {"audio": drawn, "video": drawn}
    probe = method.probes["audio"][0]
    probe.seen[:] = True
    width = probe.mean.shape[1]
    probe.mean[0, : width // 2] = 5.0  # the first half of the units tell class 0 apart, the second nothing
    changed = encoder.stages[0](batch.inputs["audio"][:, None])[:, 0]
    assert torch.equal(changed[1::2], plain[1::2])
    assert torch.allclose(changed[::2, : width // 2], 0.25 * plain[::2, : width // 2])
    assert torch.equal(changed[::2, width // 2 :], plain[::2, width // 2 :])
    assert torch.equal(method.given["audio"][0], plain)


def test_nothing_is_changed_outside_of_training(toy: Toy):
    run = session(toy, alpha=5.0)
    run.fit()
    assert not run.method.drawn
    assert max(s for stages in run.method.strength.values() for s in stages) > 0
    batch = next(run.run.validation.epoch(0))
    run.model.eval()
    output = run.model(batch)
    for m, encoder in run.model.encoders.items():
        x = batch.inputs[m]
        for stage in encoder.stages:
            x = torch.relu(x @ stage[1].weight.T + stage[1].bias)
        assert torch.allclose(output.features[m], x, atol=1e-5)


@pytest.mark.parametrize("kind", ["frames", "spectrogram", "text"])
def test_stages_are_seen_with_channels_last(kind: str):
    shape = {"frames": (3, 1, 8, 8), "spectrogram": (1, 8, 12), "text": (5,)}[kind]
    spec = ModalitySpec(kind=kind, shape=shape, preprocessing={"vocabulary": 9} if kind == "text" else {})
    encoder = build_encoder(spec, "text" if kind == "text" else "cnn", {}).eval()
    inputs = torch.randint(1, 9, (2, 5)) if kind == "text" else torch.randn(2, *shape)
    feature = encoder(inputs)
    assert widths(encoder, inputs) == ([64, 64] if kind == "text" else [16, 32, 64])
    shapes, silent = {}, []

    def visit(depth: int, units: torch.Tensor) -> torch.Tensor | None:
        shapes[depth] = by_sample(units, 2).shape
        return units * 0 if depth in silent else None

    handles = watch(encoder, visit)
    assert torch.equal(encoder(inputs), feature)
    assert [tuple(shapes[d]) for d in sorted(shapes)] == [(2, w) for w in widths(encoder, inputs)]
    silent.append(max(shapes))
    assert float(encoder(inputs).detach().abs().sum()) == 0.0
    for handle in handles:
        handle.remove()
    assert torch.equal(encoder(inputs), feature)
