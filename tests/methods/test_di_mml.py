"""DI-MML by hand: effective units, the contrast, the weights of the decision, and the two stages."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.di_mml import confidence_weights, contrast, unit_hits

Toy = Callable[..., Store]


def test_a_unit_is_right_where_its_nearest_class_mean_is_the_truth():
    means = torch.tensor([[0.0, 5.0], [1.0, 5.5], [4.0, 9.0]])
    features = torch.tensor([[0.2, 5.6], [3.0, 8.0], [0.9, 0.0]])
    labels = torch.tensor([0, 2, 1])
    assert unit_hits(features, means, labels).tolist() == [[True, False], [True, True], [True, False]]


def test_the_contrast_reads_the_chosen_units_and_teaches_one_side():
    z = torch.tensor([[1.0, 9.0], [2.0, -9.0]]).requires_grad_()
    others = torch.tensor([[0.5, 7.0], [-1.0, 7.0]]).requires_grad_()
    found = contrast(z, others, torch.tensor([True, False]), temperature=2.0)
    expected = [
        -math.log(math.exp(0.25) / (math.exp(0.25) + math.exp(-0.5))),
        -math.log(math.exp(-1.0) / (math.exp(0.5) + math.exp(-1.0))),
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    found.sum().backward()
    assert z.grad[:, 0].abs().min() > 0
    assert not z.grad[:, 1].any()
    assert others.grad is None


def test_the_surer_decision_counts_more_and_an_absent_one_nothing():
    p = torch.tensor([[[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]]])
    found = confidence_weights(p.log(), torch.tensor([[True, True, True]]), temperature=0.5)
    raw = [math.exp(x / 0.5) for x in (0.6, 0.9, 0.5)]
    assert found[0].tolist() == pytest.approx([r / sum(raw) for r in raw])
    gone = confidence_weights(p.log(), torch.tensor([[True, False, True]]), temperature=0.5)
    assert gone[0].tolist() == pytest.approx([raw[0] / (raw[0] + raw[2]), 0.0, raw[2] / (raw[0] + raw[2])])


def session(toy: Toy, epochs: int = 5, **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    return Session(
        TrainConfig(data=str(store.path), method=Choice(name="di_mml", **options), epochs=epochs, device="cpu")
    )


def test_the_contrast_of_three_is_the_mean_over_the_others(toy: Toy):
    run = session(toy, warm_up=0, t=5.0)
    state, method = run.run, run.method
    state.stage = method.stages(5)[0]
    method.on_epoch_start(state)
    rows = torch.from_numpy(state.train.split_rows)
    whole = state.train.gather(rows.numpy())
    output = run.model(whole)
    for k, m in enumerate(run.model.modalities):
        z = output.features[m].detach()
        means = torch.stack([z[whole.labels == c].mean(dim=0) for c in range(3)])
        right = torch.zeros(z.shape[1])
        for i in range(len(z)):
            for d in range(z.shape[1]):
                nearest = min(range(3), key=lambda c, i=i, d=d: abs(float(z[i, d] - means[c, d])))
                right[d] += nearest == int(whole.labels[i])
        assert method.units[k].tolist() == (right > right.mean()).tolist()
    batch = next(state.train.epoch(0))
    found = method.losses(run.model(batch), batch, method.phases(state)[0], state)
    z = {m: v.detach() for m, v in run.model(batch).features.items()}
    terms = []
    for k in (1, 2):
        units = method.units[k] & ~method.units[0]
        other = z[run.model.modalities[k]]
        for i in range(len(batch)):
            dots = [float((z["audio"][i] * other[j] * units).sum()) / 5.0 for j in range(len(batch))]
            terms.append(math.log(sum(math.exp(d) for d in dots)) - dots[i])
    assert found["contrast/audio"].item() == pytest.approx(sum(terms) / len(batch) / 2, rel=1e-3)


def test_encoders_learn_first_and_the_fusion_after_them(toy: Toy):
    run = session(toy, fusion=0.4)
    assert [(s.name, s.epochs) for s in run.method.stages(5)] == [("modalities", 3), ("fusion", 2)]
    assert [(s.name, s.epochs) for s in run.method.stages(1)] == [("modalities", 1)]
    fusion = run.model.fusion.weights["audio"].detach().clone()
    encoder = next(run.model.encoders["audio"].parameters()).detach().clone()
    seen = []

    def watch(steps: int, message: str) -> None:
        moved = not torch.equal(fusion, run.model.fusion.weights["audio"])
        seen.append((moved, next(run.model.encoders["audio"].parameters()).detach().clone()))

    run.report = watch
    run.fit()
    assert [moved for moved, _ in seen] == [False, False, False, True, True]
    assert not torch.equal(seen[0][1], encoder)
    assert torch.equal(seen[2][1], seen[4][1])


def test_the_decision_is_the_sum_of_its_contributions(toy: Toy):
    run = session(toy)
    batch = next(run.run.train.epoch(0))
    batch.present["text"][:5], batch.inputs["text"][:5] = False, 0
    output = run.model(batch)
    found = run.method.predict(output)
    own = {m: run.method.own[m](z) for m, z in output.features.items()}
    for i in (0, 9):
        there = [m for m in own if batch.present[m][i]]
        decisions = [*(own[m][i] for m in there), output.fused[i]]
        raw = [math.exp(float(o.softmax(0).max().detach())) for o in decisions]
        expected = sum(r / sum(raw) * o for r, o in zip(raw, decisions, strict=True))
        assert torch.allclose(found.fused[i], expected, atol=1e-5)
    assert torch.allclose(sum(found.contribution.values()), found.fused, atol=1e-5)
