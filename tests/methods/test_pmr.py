"""PMR against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.methods.pmr import coefficients, similarities

Toy = Callable[..., Store]


def session(toy: Toy, **choice: object) -> Session:
    store = toy({"audio": 6, "video": 4})
    return Session(TrainConfig(data=str(store.path), method=Choice(name="pmr", **choice), device="cpu"))


def test_similarity_is_minus_the_distance_and_unseen_classes_are_out():
    features = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    prototypes = torch.tensor([[0.0, 0.0], [3.0, 0.0], [9.0, 9.0]])
    found = similarities(features, prototypes, torch.tensor([True, True, False]))
    assert found[:, :2].tolist() == [pytest.approx([-5.0, -4.0]), pytest.approx([0.0, -3.0], abs=1e-5)]
    assert found.softmax(dim=1)[:, 2].tolist() == [0.0, 0.0]
    found[:, :2].sum().backward()
    assert torch.isfinite(features.grad).all()  # also at the prototype itself


def test_soft_and_hard_coefficients():
    behind, ahead = coefficients({"a": 0.6, "v": 0.4})
    assert behind == pytest.approx({"a": 0.0, "v": 0.5})
    assert ahead == pytest.approx({"a": 0.5, "v": 0.0})
    behind, ahead = coefficients({"a": 0.9, "b": 0.6, "c": 0.3})
    assert behind == pytest.approx({"a": 0.0, "b": 0.5, "c": 1.0})
    assert ahead == pytest.approx({"a": 1.0, "b": 1.0, "c": 0.0})
    assert coefficients({"a": 0.6, "v": 0.4}, hard=True) == ({"a": 0.0, "v": 1.0}, {"a": 1.0, "v": 0.0})
    assert coefficients({"a": 0.5, "v": 0.5}, hard=True) == ({"a": 0.0, "v": 0.0}, {"a": 0.0, "v": 0.0})


def test_the_loss_is_that_of_the_prototypes_and_of_the_entropy(toy: Toy):
    made = session(toy, alpha=0.7, mu=0.2, share=1.0)
    made.method.on_epoch_start(made.run)
    batch = next(made.run.train.epoch(1))
    output = made.model(batch)
    found = made.method.losses(output, batch, made.method.phases(made.run)[0], made.run)
    score, surprise, entropy = {}, {}, {}
    for m in ("audio", "video"):
        every = made.run.train.gather(made.run.train.split_rows)
        features = made.model.eval()(every).features[m].detach()
        centres = [features[every.labels == c].mean(dim=0).tolist() for c in range(3)]
        made.model.train()
        p = []
        for z in output.features[m].detach().tolist():
            odds = [math.exp(-math.dist(z, centre)) for centre in centres]
            p.append([x / sum(odds) for x in odds])
        labels = batch.labels.tolist()
        score[m] = sum(row[y] for row, y in zip(p, labels, strict=True)) / len(p)
        surprise[m] = sum(-math.log(row[y]) for row, y in zip(p, labels, strict=True)) / len(p)
        entropy[m] = sum(-x * math.log(x) for row in p for x in row) / len(p)
    best, worst = sorted(score, key=score.get)[::-1]
    lead = score[best] / score[worst] - 1
    assert 0 < lead < 1
    assert float(found[f"prototype/{worst}"].detach()) == pytest.approx(0.7 * lead * surprise[worst], rel=1e-3)
    assert float(found[f"prototype/{best}"].detach()) == 0.0
    assert float(found[f"entropy/{best}"].detach()) == pytest.approx(-0.2 * lead * entropy[best], rel=1e-3)
    assert float(found[f"entropy/{worst}"].detach()) == 0.0
    made.run.epoch = 5
    assert "entropy/audio" not in made.method.losses(output, batch, made.method.phases(made.run)[0], made.run)


def test_a_class_that_the_share_lacks_keeps_its_prototype(toy: Toy):
    made = session(toy, share=0.01, momentum=0.5)
    known = made.method.known("audio")
    made.method.on_epoch_start(made.run)
    labels = set(next(made.run.train.epoch(0)).labels.tolist())
    first = known.mean.clone()
    assert known.seen.tolist() == [c in labels for c in range(3)]
    known.seen.fill_(True)
    known.mean.fill_(7.0)
    made.method.on_epoch_start(made.run)
    for c in range(3):
        expected = 0.5 * 7.0 + 0.5 * first[c] if c in labels else torch.full_like(first[c], 7.0)
        assert torch.allclose(known.mean[c], expected)
    assert torch.isfinite(known.mean).all()


def test_a_batch_without_a_modality_is_borne(toy: Toy):
    made = session(toy)
    made.method.on_epoch_start(made.run)
    batch = next(made.run.train.epoch(0))
    batch.present["video"][:] = False
    found = made.method.losses(made.model(batch), batch, made.method.phases(made.run)[0], made.run)
    assert all(bool(torch.isfinite(loss)) for loss in found.values())
    assert float(found["prototype/video"].detach()) == 0.0
