"""AIM against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import ModalitySpec, Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.maths.prototypes import class_distances, fisher_ratio, repaired
from mmbal.methods.base import Phase
from mmbal.methods.parts.aim import by_sample, stage_at, watch, widths
from mmbal.models.encoders import build_encoder
from mmbal.models.prototypes import ComparedPrototypes, ScoredPrototypes

Toy = Callable[..., Store]
DIMS = {"audio": 6, "video": 4}


def session(toy: Toy, **options: object) -> Session:
    return Session(TrainConfig(data=str(toy(DIMS).path), method=Choice(name="aim", **options), epochs=2, device="cpu"))


def test_strength_is_in_the_share_of_errors_that_all_repair():
    assert repaired(0.6, 0.7) == pytest.approx(0.25)  # of 4 errors in 10, 3 are left
    assert repaired(0.98, 0.99) == pytest.approx(0.5)  # it does not fade near one
    assert repaired(0.6, 0.5) == 0.0  # the others do harm
    assert repaired(1.0, 1.0) == 0.0
    assert repaired(None, 0.9) == repaired(0.9, None) == 0.0


def test_stages_stand_for_the_same_relative_depth():
    assert [stage_at(d, 4, 4) for d in range(4)] == [0, 1, 2, 3]
    assert [stage_at(d, 4, 2) for d in range(4)] == [0, 0, 1, 1]  # a quarter and a half fall on the first of two
    assert [stage_at(d, 3, 2) for d in range(3)] == [0, 1, 1]
    assert [stage_at(d, 3, 1) for d in range(3)] == [0, 0, 0]


def test_the_nearest_prototype_by_variance_within_classes():
    prototypes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 1.0]])
    seen = torch.tensor([True, True, False])
    x = torch.tensor([[1.9, 0.0], [2.1, 9.0]])
    assert class_distances(x, prototypes, seen, torch.ones(2)).argmin(dim=1).tolist() == [0, 1]
    by_spread = class_distances(x, prototypes, seen, torch.tensor([4.0, 9.0]))
    assert by_spread[1].tolist() == pytest.approx([2.1**2 / 4 + 9, 1.9**2 / 4 + 9, math.inf])
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


def test_together_the_modalities_that_are_there_decide_by_the_sum_of_distances():
    probe = ComparedPrototypes(classes=2, widths={"a": 1, "b": 1}, momentum=0.5)
    probe["a"].mean.copy_(torch.tensor([[0.0], [4.0]]))
    probe["b"].mean.copy_(torch.tensor([[0.0], [10.0]]))
    for m in "ab":
        probe[m].seen[:] = True
    assert probe.accuracy is None
    features = {"a": torch.tensor([[3.0], [3.0], [1.0], [3.0]]), "b": torch.tensor([[2.0], [2.0], [9.0], [2.0]])}
    present = {"a": torch.tensor([True, True, True, False]), "b": torch.tensor([True, False, False, False])}
    # Sums for classes 0 and 1: 9 + 4 against 1 + 64; a alone 9 against 1; 1 against 9; and nothing to go by.
    probe.update(features, torch.tensor([0, 0, 1, 1]), present, lambda value: value)
    assert probe.tally.tolist() == [3.0, 1.0]
    assert probe.accuracy == pytest.approx(1 / 3)
    assert probe["a"].accuracy == 0.0  # of 3, 3 and 1 the nearest are 1, 1 and 0
    assert probe["b"].accuracy == 1.0  # its only row


def known(run: Session, right: dict[str, float], together: float) -> None:
    """As if each modality's prototypes had been right so often of ten times, at both depths."""
    for depth in range(2):
        probe = run.method.probe(depth)
        probe.tally.copy_(torch.tensor([10.0, together]))
        for m, times in right.items():
            probe[m].seen[:] = True
            probe[m].tally[:2] = torch.tensor([10.0, times])
            probe[m].tally[2:] = 1.0
            probe[m].mean[0, : probe[m].mean.shape[1] // 2] = 5.0  # only the first half of the units tell class 0 apart


def test_each_modality_decides_at_each_depth_beside_the_auxiliary_blocks_of_the_others(toy: Toy):
    run = session(toy, alpha=2.0, block=0.5)
    method, model = run.method, run.model
    batch = next(run.run.train.epoch(0))
    batch.present["video"][:3] = False
    known(run, {"audio": 8.0, "video": 5.0}, together=9.0)
    output = model(batch)
    losses = method.losses(output, batch, Phase(model.modalities), run.run)
    assert list(losses) == ["fused", "depth.1/audio", "depth.1/video", "depth.2/audio", "depth.2/video"]
    assert torch.equal(losses["fused"], cross_entropy(output.fused, batch.labels))

    first = {}
    for m, encoder in model.encoders.items():
        stage = encoder.stages[0]
        first[m] = torch.relu(batch.inputs[m] @ stage[1].weight.T + stage[1].bias)
    share = {"audio": 0.1 / 0.2, "video": 0.4 / 0.5}
    for depth, found in enumerate([first, output.features]):
        for deciding in found:
            logits = 0
            for m, z in found.items():
                fusion = method.heads[0] if depth == 0 else model.fusion
                enters = z.clone()
                if m == "video":
                    enters[:3] = 0.0
                if m != deciding:
                    enters[:, : z.shape[1] // 2] = 0.0
                vote = enters @ fusion.weight(m).T + fusion.bias(m)
                logits = logits + vote
            hand = (depth + 1) / 2 * math.tanh(2.0 * share[deciding]) * cross_entropy(logits, batch.labels)
            found_loss = losses[f"depth.{depth + 1}/{deciding}"]
            assert float(found_loss.detach()) == pytest.approx(float(hand.detach()), rel=1e-4)


def test_without_blocks_the_last_depth_is_each_modality_alone(toy: Toy):
    store = toy({"a": 3, "b": 3, "c": 3})
    run = Session(TrainConfig(data=str(store.path), method=Choice(name="aim", block=0.0), epochs=2, device="cpu"))
    known(run, {"a": 9.0, "b": 5.0, "c": 3.0}, together=9.0)
    batch = next(run.run.train.epoch(0))
    output = run.model(batch)
    losses = run.method.losses(output, batch, Phase(run.model.modalities), run.run)
    assert "depth.2/a" not in losses  # nothing of it is repaired
    for m, right in (("b", 0.5), ("c", 0.3)):
        alone = output.features[m] @ run.model.fusion.weight(m).T + run.model.fusion.shared_bias
        hand = math.tanh(5 * (0.9 - right) / (1 - right)) * cross_entropy(alone, batch.labels)
        assert float(losses[f"depth.2/{m}"].detach()) == pytest.approx(float(hand.detach()), rel=1e-4)


def test_before_anything_is_known_there_is_the_joint_loss_alone(toy: Toy):
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
