"""MCR by hand: what an exchange changes, who learns from it, the contrast and the bottleneck."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.mcr import contrast, exchange_divergence
from mmbal.models.draws import named_generator

Toy = Callable[..., Store]


def js(p: torch.Tensor, q: torch.Tensor) -> float:
    mean = (p + q) / 2
    return float((p * (p / mean).log()).sum() + (q * (q / mean).log()).sum()) / 2


def test_an_exchange_changes_the_decision():
    logits = {m: torch.randn(3, 2, generator=torch.Generator().manual_seed(k)) for k, m in enumerate("abc")}
    source, rows = torch.tensor([1, 2]), torch.tensor([0, 1])
    found = exchange_divergence(logits, "a", source, rows, "all").item()
    expected = 0.0
    for j, i in ((1, 0), (2, 1)):
        plain = (logits["a"][i] + logits["b"][i] + logits["c"][i]).softmax(0)
        mixed = (logits["a"][j] + logits["b"][i] + logits["c"][i]).softmax(0)
        expected += js(plain, mixed) / 2
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("learns", "free"), [("own", {"a"}), ("others", {"b"}), ("all", {"a", "b"})])
def test_who_learns_from_the_exchanged_decision(learns: str, free: set[str]):
    fixed = {"a": torch.tensor([[1.0, 0.0], [0.0, 2.0]]), "b": torch.tensor([[0.5, 0.0], [0.0, 0.1]])}
    source, rows = torch.tensor([1]), torch.tensor([0])
    logits = {m: o.clone().requires_grad_() for m, o in fixed.items()}
    exchange_divergence(logits, "a", source, rows, learns).backward()
    # What the plain decision teaches, and what the exchanged one teaches to those who are free.
    again = {m: o.clone().requires_grad_() for m, o in fixed.items()}
    own = again["a"][source] if "a" in free else fixed["a"][source]
    rest = again["b"][rows] if "b" in free else fixed["b"][rows]
    plain, mixed = (again["a"] + again["b"])[rows].log_softmax(1), (own + rest).log_softmax(1)
    mean = torch.logaddexp(plain, mixed) - math.log(2)
    (0.5 * (plain.exp() * (plain - mean) + mixed.exp() * (mixed - mean)).sum()).backward()
    for m in fixed:
        assert torch.allclose(logits[m].grad, again[m].grad, atol=1e-6)


def test_the_contrast_of_pairs_of_one_class():
    z = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    unit = [v / math.sqrt(float(v @ v)) for v in z]
    losses = []
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        e = [math.exp(float(unit[i] @ unit[k]) / 0.5) for k in range(4)]
        others = sum(e[k] for k in range(4) if labels[k] != labels[i])
        losses.append(-math.log(e[j] / (e[j] + others)))
    assert contrast(z, labels, 0.5).item() == pytest.approx(sum(losses) / 4, rel=1e-5)
    assert contrast(z, torch.arange(4), 0.5).item() == 0.0
    assert contrast(z, torch.zeros(4, dtype=torch.long), 0.5).item() == 0.0


@pytest.mark.parametrize("game", ["greedy", "independent", "collaborative"])
def test_the_game_of_three(game: str, toy: Toy):
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="mcr", game=game, strength=2.0, shuffles=3)
    run = Session(TrainConfig(data=str(store.path), method=choice, batch_size=8, device="cpu"))
    batch = next(run.run.train.epoch(0))
    batch.present["text"][:3], batch.inputs["text"][:3] = False, 0
    output = run.model(batch)
    found = run.method.losses(output, batch, run.method.phases(run.run)[0], run.run)
    order = batch.index.argsort()
    chance = named_generator("mcr.0")
    shuffles = [torch.randperm(8, generator=chance).tolist() for _ in range(3)]
    value = {}
    for m in run.model.modalities:
        changes = []
        for shuffle in shuffles:
            for place, other in enumerate(shuffle):
                i, j = int(order[place]), int(order[other])
                if i != j and batch.present[m][i] and batch.present[m][j]:
                    mixed = output.fused[i] - output.contribution[m][i] + output.contribution[m][j]
                    changes.append(js(output.fused[i].softmax(0).detach(), mixed.softmax(0).detach()))
        value[m] = sum(changes) / len(changes)
    expected = 0.0 if game == "greedy" else -2.0 * sum(value.values())  # greedy: equal values, opposite gradients
    assert found["game"].item() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert torch.autograd.grad(found["game"], run.model.fusion.weights["audio"])[0].abs().sum() > 0
