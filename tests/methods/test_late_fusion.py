"""Late fusion by hand: who is dropped, what the loss is, and that its transformer reads only what is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmbal.data.store.store import Store
from mmbal.engine.config import Choice, TrainConfig
from mmbal.engine.session import Session
from mmbal.models.draws import kept_at_random

Toy = Callable[..., Store]


def session(toy: Toy, fusion: str = "concat", **options: object) -> Session:
    store = toy({"audio": 6, "text": 5, "video": 4})
    choice = Choice(name="late_fusion", **options)
    config = TrainConfig(data=str(store.path), method=choice, fusion=Choice(name=fusion), epochs=2, device="cpu")
    return Session(config)


def test_modalities_are_dropped_at_the_rate_and_never_the_last_one():
    rows = 20_000
    present = {"a": torch.ones(rows, dtype=torch.bool), "b": torch.ones(rows, dtype=torch.bool)}
    present["b"][:100] = False
    kept = kept_at_random(present, 0.4, "test", torch.arange(rows), rows)
    assert bool(kept["a"][:100].all())  # its only modality
    assert not kept["b"][:100].any()
    assert bool((kept["a"] | kept["b"]).all())
    # Dropped alone: 0.4 * 0.6; both would go in 0.16 of the rows, where each stays in half of them.
    for m in present:
        assert 1 - kept[m][100:].float().mean().item() == pytest.approx(0.4 * 0.6 + 0.16 / 2, abs=0.015)
    assert all(
        torch.equal(p, present[m]) for m, p in kept_at_random(present, 0.0, "x", torch.arange(rows), rows).items()
    )


def test_the_loss_is_that_of_the_head_on_what_is_kept_and_of_each_modality_alone(toy: Toy):
    run = session(toy, own=0.3, drop=0.5)
    batch = run.method.on_batch(next(run.run.train.epoch(0)), run.run)
    lost = [int((~p).sum()) for p in batch.present.values()]
    assert all(lost)
    output = run.model(batch)
    found = run.method.losses(output, batch, run.method.phases(run.run)[0], run.run)
    fused, own = [], {m: [] for m in run.model.modalities}
    for i, label in enumerate(batch.labels):
        logits = 0
        for m in run.model.modalities:
            z = run.model.encoders[m](batch.inputs[m][i : i + 1])
            part = z @ run.model.fusion.weight(m).T * float(batch.present[m][i])
            logits = logits + part
            if batch.present[m][i]:
                alone = part + run.model.fusion.bias(m)
                own[m].append(cross_entropy(alone, label[None]).item())
        fused.append(cross_entropy(logits + run.model.fusion.shared_bias, label[None]).item())
    assert found["fused"].item() == pytest.approx(sum(fused) / len(fused), rel=1e-4)
    for m, values in own.items():
        assert found[f"own/{m}"].item() == pytest.approx(0.3 * sum(values) / len(values), rel=1e-4)


def test_the_validation_split_is_never_thinned(toy: Toy):
    run = session(toy, drop=0.9)
    assert all(bool(batch.present[m].all()) for _, batch in run.run.evaluate(run.run.validation) for m in batch.present)


@pytest.mark.parametrize("tokens", ["pooled", "all"])
def test_the_transformer_reads_only_the_tokens_that_are_there(toy: Toy, tokens: str):
    run = session(toy, "late_transformer")
    fusion = type(run.model.fusion)(
        dict.fromkeys("ab", 4), 3, type(run.model.fusion).Config(dim=8, heads=2, tokens=tokens)
    )
    fusion.eval()
    a, b = torch.randn(2, 3, 4), torch.randn(2, 2, 4)
    there = {m: torch.ones(2, dtype=torch.bool) for m in "ab"}
    whole, padded = fusion.decide({"a": a, "b": b}, there), fusion.decide({"a": a, "b": torch.zeros_like(b)}, there)
    assert torch.allclose(whole.logits["a"], padded.fused, atol=1e-6)
    assert not torch.allclose(whole.fused, padded.fused)
    longer = torch.cat([b, torch.zeros(2, 4, 4)], dim=1)
    same = torch.allclose(fusion.decide({"a": a, "b": longer}, there).fused, whole.fused, atol=1e-6)
    assert same == (tokens == "all")  # a pooled token is the mean, which padding changes
