"""Attention fusions against plain loops, and what they must keep: asymmetric lengths, padding, absent modalities."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mmbal.data.store.store import ModalitySpec, Store, seal
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.train import train
from mmbal.errors import ConfigError
from mmbal.models.attention import AttentionMap, Block, filled
from mmbal.models.fusion import build_fusion

NAMES = ("attention_lt", "attention_it", "attention_ia")


def tokens(**lengths: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {m: torch.randn(2, length, 4, generator=generator) for m, length in lengths.items()}


def test_the_map_is_the_softmax_of_scaled_products_over_the_keys_that_are_filled():
    attention = AttentionMap(2, 3, dim=4, heads=2, name="x")
    queries = torch.tensor([[[1.0, -2.0], [0.5, 0.0]]])
    keys = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, -1.0, 1.0]]])
    found = attention.map(queries, keys)
    assert found.shape == (1, 2, 2, 3)
    query, key = attention.query.weight.detach(), attention.key.weight.detach()
    for head in range(2):
        rows = range(2 * head, 2 * head + 2)
        for i in range(2):
            products = []
            for j in (0, 2):
                parts = [float(query[r] @ queries[0, i]) * float(key[r] @ keys[0, j]) for r in rows]
                products.append(math.exp(sum(parts) / math.sqrt(2)))
            expected = [products[0] / sum(products), 0.0, products[1] / sum(products)]
            assert found[0, head, i].tolist() == pytest.approx(expected, abs=1e-6)


def test_nothing_is_read_in_an_empty_sequence():
    block = Block(4, 4, dim=8, heads=2, outputs=6, name="x")
    queries = torch.randn(3, 5, 4)
    assert (block(queries, torch.zeros(3, 2, 4)) == 0).all()
    assert filled(torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])).tolist() == [[True, False]]


def test_a_gate_is_the_attention_received_and_one_on_average():
    fusion = build_fusion("attention_ia", {"dim": 1}, {"a": 1, "v": 1}, 2)
    gate = fusion.asked_by["a"]["v"]
    with torch.no_grad():
        gate.query.weight.fill_(1.0)
        gate.key.weight.fill_(1.0)
    x = {"a": torch.tensor([[[math.log(3.0)], [math.log(5.0)]]]), "v": torch.tensor([[[1.0], [2.0], [0.0]]])}
    # Queries 1, 2 and 0 of v on keys log 3 and log 5 of a: weights 3 : 5, 9 : 25 and 1 : 1.
    expected = [2 / 3 * (3 / 8 + 9 / 34 + 1 / 2), 2 / 3 * (5 / 8 + 25 / 34 + 1 / 2)]
    assert fusion.gate("a", x)[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert sum(expected) / 2 == pytest.approx(1.0)


def test_an_absent_modality_leaves_the_gates_open():
    fusion = build_fusion("attention_ia", {}, {"a": 4, "v": 4}, 2)
    x = tokens(a=5) | {"v": torch.zeros(2, 3, 4)}
    assert torch.allclose(fusion.gate("a", x), torch.ones(2, 5))


def test_the_intermediate_transformer_adds_what_the_others_say_on_average():
    fusion = build_fusion("attention_it", {}, {"a": 4, "t": 4, "v": 4}, 2)
    x = tokens(a=5, t=1, v=3)
    said = [fusion.read["a"][n](x["a"], x[n]) for n in ("t", "v")]
    assert torch.allclose(fusion.exchange(x, fusion.gates(x))["a"], (said[0] + said[1]) / 2, atol=1e-6)
    y = x | {"t": torch.zeros(2, 1, 4)}
    assert torch.allclose(fusion.exchange(y, fusion.gates(y))["a"], said[1], atol=1e-6)


def test_in_the_late_transformer_the_queries_read_the_other_modality():
    fusion = build_fusion("attention_lt", {}, {"a": 4, "v": 4}, 2)
    x = tokens(a=5, v=3)
    read = fusion.read["a"]["v"](fusion.stage["a"](x["a"]), fusion.stage["v"](x["v"]))
    assert torch.allclose(fusion.streams(x, fusion.gates(x))["a"], read, atol=1e-6)
    assert read.shape == (2, 5, 64)


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_modality_says_nothing_however_long_it_would_have_been(name: str):
    fusion = build_fusion(name, {}, {"a": 4, "v": 4, "t": 4}, 3)
    x = tokens(a=5, t=2)
    short, long = (fusion.head(x | {"v": torch.zeros(2, length, 4)}) for length in (1, 9))
    assert torch.allclose(short, long, atol=1e-6)
    nothing = fusion.head({m: torch.zeros(2, 3, 4) for m in ("a", "t", "v")})
    assert torch.equal(nothing, fusion.bias.expand(2, 3))
    whole = fusion.head(tokens(a=5, t=2, v=9))
    assert not torch.allclose(whole, long, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_modality_and_uneven_heads_are_refused(name: str):
    with pytest.raises(ConfigError, match="at least 2 modalities"):
        build_fusion(name, {}, {"a": 4}, 3)
    with pytest.raises(ConfigError):
        build_fusion(name, {"dim": 10, "heads": 4}, {"a": 4, "v": 4}, 3)


def sequences(out: Path) -> Store:
    """The class is the place of a peak in the long sequence; the short one is noise and often missing."""
    out.mkdir(parents=True)
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 240)
    long = random.normal(size=(240, 6, 4)).astype(np.float32)
    for row, label in enumerate(labels):
        long[row, 2 * label] += 4 * np.eye(4, dtype=np.float32)[label]
    arrays = {"long": long, "short": random.normal(size=(240, 2, 3)).astype(np.float32)}
    for m, array in arrays.items():
        np.save(out / f"{m}.npy", array)
    rows = {
        "labels": labels,
        "ids": np.arange(240).astype(str),
        "split": np.array(["train", "train", "val", "test"])[np.arange(240) % 4],
        "present_long": np.ones(240, dtype=bool),
        "present_short": np.arange(240) % 3 > 0,
    }
    specs = {m: ModalitySpec(kind="sequence", shape=a.shape[1:]) for m, a in arrays.items()}
    seal(out, name="sequences", classes=("a", "b", "c"), modalities=specs, rows=rows, meta={})
    return Store.open(out)


@pytest.mark.parametrize("name", NAMES)
def test_sequences_of_unequal_length_are_learned_although_one_is_often_missing(name: str, tmp_path: Path):
    store = sequences(tmp_path / "store")
    config = TrainConfig(
        data=str(store.path),
        fusion=Choice(name=name, dim=16, heads=2),
        epochs=12,
        batch_size=16,
        optimiser=OptimiserConfig(lr=0.05),
        device="cpu",
    )
    assert train(config, out=tmp_path / "run").summary["test"]["accuracy"] > 0.6
