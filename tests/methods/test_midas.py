"""MIDAS by hand: soft labels, weights, partners of another class, and the step of alpha."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.midas import hardness, label_shares, misaligned_loss, partners
from mmbal.models.draws import named_generator

Toy = Callable[..., Store]


def test_a_label_is_shared_by_confidence():
    assert label_shares(torch.tensor([[0.6, 0.2], [0.3, 0.2]])).T.flatten().tolist() == pytest.approx(
        [2 / 3, 1 / 3, 0.5, 0.5]
    )


def test_the_loss_of_a_misaligned_sample():
    fused = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log()
    labels, shares = torch.tensor([[0, 2], [1, 0]]), torch.tensor([[0.75, 0.5], [0.25, 0.5]])
    found = misaligned_loss(fused, labels, shares, torch.tensor([1.0, 1.5]), torch.tensor([1.0, 2.0]))
    first = -(0.75 * math.log(0.5) + 1.5 * 0.25 * math.log(0.3))
    second = -2 * (0.5 * math.log(0.8) + 1.5 * 0.5 * math.log(0.1))
    assert found.tolist() == pytest.approx([first, second])


def test_what_looks_aligned_is_harder():
    after, before = (
        torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 0.0]]),
        torch.tensor([[3.0, 4.0], [0.0, 2.0], [-1.0, 0.0]]),
    )
    assert hardness(after, before).tolist() == pytest.approx([2.0, 1.5, 1.0])


def test_a_partner_is_the_next_row_of_another_class():
    labels, order = torch.tensor([0, 0, 1, 2]), torch.tensor([2, 0, 1, 3])
    # in this order the classes are 1 0 0 2
    found, there = partners(labels, order)
    assert found.tolist() == [3, 3, 0, 2]
    assert there.tolist() == [True] * 4
    assert not partners(torch.tensor([1, 1]), torch.tensor([1, 0]))[1].any()


@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_one_modality_is_exchanged_and_alpha_moves(modalities: int, toy: Toy):
    names = [f"m{i}" for i in range(modalities)]
    store = toy(dict.fromkeys(names, 4), rows=64)
    choice = Choice(name="midas", eta=0.5, hard=False)
    run = Session(TrainConfig(data=str(store.path), method=choice, batch_size=16, device="cpu"))
    state, method, model = run.run, run.method, run.model
    batch = next(state.train.epoch(0))
    batch.present["m1"][3], batch.inputs["m1"][3] = False, 0
    state.step = modalities + 1  # m1 is exchanged
    output = model(batch)
    found = method.losses(output, batch, method.phases(state)[0], state)["misaligned"].item()
    ranks = batch.index.argsort()
    labels = batch.labels[ranks]
    order = torch.randperm(16, generator=named_generator(f"midas.{state.step}"))
    partner, there = partners(labels, order)
    fusion, losses, followed = model.fusion, [], []
    sure = []
    rows = []
    for i in range(16):
        j = int(partner[i])
        a, b = int(ranks[i]), int(ranks[j])
        if there[i] and 3 not in (a, b):
            rows.append((a, b))
            own = []
            for m in names:
                at = b if m == "m1" else a
                own.append(float(output.logits[m][at].detach().softmax(0)[batch.labels[at]]))
            sure.append(own)
    weak = min(range(modalities), key=lambda k: sum(s[k] for s in sure))
    for (a, b), own in zip(rows, sure, strict=True):
        logits = fusion.shared_bias + sum(fusion.weights[m] @ output.features[m][b if m == "m1" else a] for m in names)
        log_p = logits.detach().log_softmax(0)
        at = [batch.labels[b if m == "m1" else a] for m in names]
        losses.append(-sum(c / sum(own) * float(log_p[y]) for c, y in zip(own, at, strict=True)))
        followed.append([float(log_p[y].exp()) for y in at])
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    means = [sum(f[k] for f in followed) / len(followed) for k in range(modalities)]
    others = (sum(means) - means[weak]) / (modalities - 1)
    assert method.alpha.item() == pytest.approx(1.5 if others > means[weak] else 1.0)
