"""AIM against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store import ModalitySpec, Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.train import Session
from mmbal.maths.prototypes import fisher_ratio, nearest_class
from mmbal.methods.aim import auxiliary, strengths
from mmbal.methods.base import Phase
from mmbal.models.encoders import build_encoder
from mmbal.models.prototypes import ScoredPrototypes
from mmbal.models.stages import by_sample, stage_at, watch, widths

Toy = Callable[..., Store]
DIMS = {"audio": 6, "video": 4}


def session(toy: Toy, **options: object) -> Session:
    return Session(TrainConfig(data=str(toy(DIMS).path), method=Choice(name="aim", **options), epochs=2, device="cpu"))


def test_strength_follows_the_gap_to_the_weakest():
    assert strengths({"a": 0.9, "b": 0.3, "c": 0.5}, alpha=2.0) == pytest.approx(
        {"a": math.tanh(1.2), "b": 0.0, "c": math.tanh(0.4)}
    )
    # What is not known is not weak, nor cut.
    assert strengths({"a": 0.5, "b": 0.3, "c": None}, alpha=1.0) == pytest.approx(
        {"a": math.tanh(0.2), "b": 0.0, "c": 0.0}
    )
    assert strengths({"a": 0.5, "b": 0.5}, alpha=9.0) == {"a": 0.0, "b": 0.0}
    assert strengths({"a": None, "b": None}, alpha=9.0) == {"a": 0.0, "b": 0.0}


def test_stages_stand_for_the_same_relative_depth():
    assert [stage_at(d, 4, 4) for d in range(4)] == [0, 1, 2, 3]
    assert [stage_at(d, 4, 2) for d in range(4)] == [0, 0, 1, 1]  # a quarter and a half fall on the first of two
    assert [stage_at(d, 3, 2) for d in range(3)] == [0, 1, 1]
    assert [stage_at(d, 3, 1) for d in range(3)] == [0, 0, 0]


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


def test_only_what_is_learned_is_cut():
    units = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    learned = torch.tensor([True, False])
    assert auxiliary(units, learned, 0.75).tolist() == [[0.25, 2.0], [0.75, 4.0]]
    assert auxiliary(units, learned, 0.0).tolist() == units.tolist()
    assert auxiliary(units[:, None], learned, 1.0).tolist() == [[[0.0, 2.0]], [[0.0, 4.0]]]  # tokens


def test_each_depth_decides_by_the_auxiliary_block_and_the_joint_loss_by_all(toy: Toy):
    run = session(toy, alpha=2.0, block=0.5)
    method, model = run.method, run.model
    batch = next(run.run.train.epoch(0))
    batch.present["video"][:3] = False
    for depth in range(2):
        for m, right in (("audio", 8.0), ("video", 5.0)):
            probe = method.probe(depth, m)
            probe.seen[:] = True
            probe.tally[:2] = torch.tensor([10.0, right])
            probe.tally[2:] = 1.0
            probe.mean[0, : probe.mean.shape[1] // 2] = 5.0  # only the first half of the units tell class 0 apart
    output = model(batch)
    losses = method.losses(output, batch, Phase(model.modalities), run.run)
    assert list(losses) == ["fused", "depth.1", "depth.2"]
    assert torch.equal(losses["fused"], cross_entropy(output.fused, batch.labels))

    strength = math.tanh(2.0 * 0.3)
    first = {}
    for m, encoder in model.encoders.items():
        stage = encoder.stages[0]
        first[m] = torch.relu(batch.inputs[m] @ stage[1].weight.T + stage[1].bias)
    for depth, found in enumerate([first, output.features]):
        logits = 0
        for m, z in found.items():
            layer = method.heads[0][m] if depth == 0 else None
            weight = layer.weight if layer else model.fusion.weight(m)
            bias = layer.bias if layer else model.fusion.bias(m)
            enters = z.clone()
            if m == "audio":
                enters[:, : z.shape[1] // 2] = 0.0
            vote = enters @ weight.T + bias
            if m == "video" and layer:
                vote[:3] = 0.0
            logits = logits + vote
        hand = strength * cross_entropy(logits, batch.labels)
        assert float(losses[f"depth.{depth + 1}"].detach()) == pytest.approx(float(hand.detach()), rel=1e-4)


def test_between_strongest_and_weakest_the_cut_is_in_proportion(toy: Toy):
    store = toy({"a": 3, "b": 3, "c": 3})
    run = Session(TrainConfig(data=str(store.path), method=Choice(name="aim", block=0.0), epochs=2, device="cpu"))
    model, method = run.model, run.method
    for m, right in (("a", 9.0), ("b", 5.0), ("c", 3.0)):
        method.probe(1, m).tally[:2] = torch.tensor([10.0, right])
    batch = next(run.run.train.epoch(0))
    output = model(batch)
    loss = method.losses(output, batch, Phase(model.modalities), run.run)["depth.2"]
    most, middle = math.tanh(5 * 0.6), math.tanh(5 * 0.2)
    keep = {"a": 0.0, "b": 1 - middle / most, "c": 1.0}
    logits = sum(keep[m] * z @ model.fusion.weight(m).T for m, z in output.features.items()) + model.fusion.shared_bias
    assert float(loss.detach()) == pytest.approx(float(most * cross_entropy(logits, batch.labels).detach()), rel=1e-4)


def test_without_a_gap_there_is_the_joint_loss_alone(toy: Toy):
    run = session(toy)
    batch = next(run.run.train.epoch(0))
    assert list(run.method.losses(run.model(batch), batch, Phase(run.model.modalities), run.run)) == ["fused"]


@pytest.mark.parametrize("kind", ["frames", "spectrogram", "text"])
def test_stages_are_seen_with_channels_last(kind: str):
    shape = {"frames": (3, 1, 8, 8), "spectrogram": (1, 8, 12), "text": (5,)}[kind]
    spec = ModalitySpec(kind=kind, shape=shape, preprocessing={"vocabulary": 9} if kind == "text" else {})
    encoder = build_encoder(spec, "text" if kind == "text" else "cnn", {}).eval()
    inputs = torch.randint(1, 9, (2, 5)) if kind == "text" else torch.randn(2, *shape)
    feature = encoder(inputs)
    assert widths(encoder, inputs) == ([64, 64] if kind == "text" else [16, 32, 64])
    shapes = {}

    def visit(depth: int, units: torch.Tensor) -> None:
        shapes[depth] = by_sample(units, 2).shape

    handles = watch(encoder, visit)
    assert torch.equal(encoder(inputs), feature)
    assert [tuple(shapes[d]) for d in sorted(shapes)] == [(2, w) for w in widths(encoder, inputs)]
    for handle in handles:
        handle.remove()
    shapes.clear()
    encoder(inputs)
    assert not shapes
