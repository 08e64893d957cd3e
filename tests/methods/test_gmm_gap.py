"""The GMM-guided loss by hand: gaps, the mixture, the posterior, and what each sample pays."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.gmm_gap import adaptive_loss, modality_gap
from mmbal.methods.parts.gmm_gap import fit_two_gaussians, posterior

Toy = Callable[..., Store]


def test_the_gap_is_between_the_extremes_and_closes_from_below():
    p = torch.tensor([[0.9, 0.2, 0.4], [0.5, 0.6, 0.1], [0.3, 0.7, 0.8]]).requires_grad_()
    present = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    found = modality_gap(p, present)
    assert found.tolist() == pytest.approx([0.6, 0.4, 0.0])
    found.sum().backward()
    assert p.grad.tolist() == [[0.0, -1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]


def test_two_groups_of_gaps_are_found():
    random = torch.Generator().manual_seed(0)
    values = torch.cat(
        [0.1 + 0.03 * torch.randn(3000, generator=random), 0.6 + 0.1 * torch.randn(1000, generator=random)]
    ).double()
    (w, mean, spread) = fit_two_gaussians(values[torch.randperm(4000, generator=random)]).tolist()
    assert w == pytest.approx([0.75, 0.25], abs=0.01)
    assert mean == pytest.approx([0.1, 0.6], abs=0.01)
    assert spread == pytest.approx([0.03, 0.1], abs=0.01)
    same = fit_two_gaussians(torch.full((5,), 0.3, dtype=torch.double))
    assert same[1].tolist() == [0.3, 0.3]
    assert posterior(torch.tensor([0.3], dtype=torch.double), same).item() == pytest.approx(0.5)


def test_the_posterior_is_bayes_rule():
    mixture = torch.tensor([[0.7, 0.3], [0.1, 0.5], [0.1, 0.2]], dtype=torch.double)
    x = 0.25
    densities = [w / s * math.exp(-0.5 * ((x - m) / s) ** 2) for w, m, s in ((0.7, 0.1, 0.1), (0.3, 0.5, 0.2))]
    found = posterior(torch.tensor([x], dtype=torch.double), mixture).item()
    assert found == pytest.approx(densities[1] / sum(densities))


def test_what_a_sample_pays():
    found = adaptive_loss(
        torch.tensor([1.0, 2.0]), torch.tensor([0.1, 0.7]), torch.tensor([0.0, 0.9]), mean=0.2, beta=0.5, gamma=2.0
    )
    # (1 + .5) 1 + 2 (.1 + 0);   (1 - .5 * .8) 2 + 2 (.7 + .9 * .5)
    assert found.tolist() == pytest.approx([1.7, 1.2 + 2 * 1.15])


def test_from_the_second_epoch_on_the_last_one_s_mixture_is_used(toy: Toy):
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="gmm_gap", warm_up=0)
    run = Session(TrainConfig(data=str(store.path), method=choice, epochs=4, device="cpu"))
    method, state = run.method, run.run
    phase = method.phases(state)[0]
    method.on_epoch_start(state)
    gaps = []
    for batch in state.train.epoch(0):
        output = run.model(batch)
        assert list(method.losses(output, batch, phase, state)) == ["fused"]
        p = [output.logits[m].softmax(1)[range(len(batch)), batch.labels] for m in run.model.modalities]
        gaps += (torch.stack(p).amax(0) - torch.stack(p).amin(0)).tolist()
    method.on_epoch_end(state)
    assert torch.allclose(method.mixture, fit_two_gaussians(torch.tensor(gaps, dtype=torch.double)), atol=1e-5)
    state.epoch = 1
    method.on_epoch_start(state)
    batch = next(state.train.epoch(1))
    output = run.model(batch)
    found = method.losses(output, batch, phase, state)["adaptive"].item()
    expected = 0.0
    w, mu, sigma = method.mixture.tolist()
    for i, y in enumerate(batch.labels.tolist()):
        p = [float(output.logits[m][i].detach().softmax(0)[y]) for m in run.model.modalities]
        gap = max(p) - min(p)
        d = [w[k] / sigma[k] * math.exp(-0.5 * ((gap - mu[k]) / sigma[k]) ** 2) for k in range(2)]
        pi = d[1] / sum(d)
        ce = cross_entropy(output.fused[i], batch.labels[i]).item()
        expected += (1 + 0.5 * (1 - 2 * pi)) * ce + gap + pi * max(0.0, gap - mu[0])
    assert found == pytest.approx(expected / len(batch), rel=1e-3)
