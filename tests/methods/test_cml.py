"""CML by hand: which pairs count, by how much, and the chain of sets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.cml import rank_loss
from mmbal.models.draws import named_generator

Toy = Callable[..., Store]


def test_confidence_that_grows_is_paid_for_row_by_row():
    larger = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]).log()
    smaller = torch.tensor([[0.8, 0.2], [0.7, 0.3], [0.9, 0.1], [0.9, 0.1]]).log()
    labels = torch.tensor([0, 0, 1, 0])
    # rows: both right, surer; less sure; the smaller wrong; the smaller right and the larger wrong
    assert rank_loss(larger, smaller, labels).tolist() == pytest.approx([0.2, 0.0, 0.2, 0.0])
    assert rank_loss(larger, smaller, labels, skip=False).tolist() == pytest.approx([0.2, 0.0, 0.2, 0.3])
    assert rank_loss(larger, smaller, labels, epsilon=0.15).tolist() == pytest.approx([0.05, 0.0, 0.05, 0.0])


@pytest.mark.parametrize(("truth", "constant"), [(0, False), (1, True)])
def test_a_larger_set_that_is_wrong_can_be_held_constant(truth: int, constant: bool):
    labels = torch.tensor([truth])
    for detach in (False, True):
        larger = torch.tensor([[0.6, 0.4]]).log().requires_grad_()
        smaller = torch.tensor([[0.8, 0.2]]).log().requires_grad_()
        found = rank_loss(larger, smaller, labels, detach=detach).sum()
        assert found.item() == pytest.approx(0.2)
        found.backward()
        assert smaller.grad.abs().sum() > 0
        assert (float(larger.grad.abs().sum()) == 0 if larger.grad is not None else True) == (detach and constant)


@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_the_penalty_is_the_sum_along_a_chain(modalities: int, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    store = toy(dict.fromkeys(names, 4), rows=64)
    choice = Choice(name="cml", strength=2.0, epsilon=0.1)
    run = Session(TrainConfig(data=str(store.path), method=choice, device="cpu"))
    batch = next(run.run.train.epoch(0))
    batch.present["m1"][:9], batch.inputs["m1"][:9] = False, 0
    output = run.model(batch)
    found = run.method.losses(output, batch, run.method.phases(run.run)[0], run.run)["rank"].item()
    order = torch.randperm(modalities, generator=named_generator("cml.0")).tolist()
    weight, bias = run.model.fusion.weights, run.model.fusion.shared_bias
    expected = 0.0
    for i in range(len(batch)):

        def decide(members: list[str], i: int = i) -> torch.Tensor:
            return bias + sum(weight[m] @ output.features[m][i] for m in members if batch.present[m][i])

        members = list(names)
        for position in order[:-1]:
            gone = names[position]
            before, members = decide(members).softmax(0), [m for m in members if m != gone]
            after = decide(members).softmax(0)
            counts = bool(batch.present[gone][i]) and any(bool(batch.present[m][i]) for m in members)
            y = int(batch.labels[i])
            if counts and not (int(after.argmax()) == y and int(before.argmax()) != y):
                expected += max(0.0, float((after.max() - before.max()).detach()) - 0.1)
    assert found == pytest.approx(2.0 * expected / len(batch), rel=1e-3)
