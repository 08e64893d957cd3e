"""The parts of MODS by hand, what an absent modality may do, and that the informative modality becomes primary."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmbal.data.store.store import ModalitySpec, Store, seal
from mmbal.engine.config import Choice, OptimiserConfig, TrainConfig
from mmbal.engine.session import Session
from mmbal.engine.train import train
from mmbal.errors import ConfigError
from mmbal.methods.base import Phase
from mmbal.methods.mods import contrast
from mmbal.models.fusion import build_fusion
from mmbal.models.mods import normalised_adjacency, route

Toy = Callable[..., Store]


def session(store: Store, fusion: str = "mods_light", **options: float) -> Session:
    return Session(
        TrainConfig(
            data=str(store.path),
            method=Choice(name="mods", **options),
            fusion=Choice(name=fusion, dim=8),
            batch_size=16,
            device="cpu",
        )
    )


def test_routing_sends_tokens_to_the_nodes_that_agree_with_them():
    # Two tokens, two nodes, capsules of one number; a third token is padding.
    capsules = torch.tensor([[[[1.0], [0.0]], [[3.0], [2.0]], [[9.0], [9.0]]]])
    there = torch.tensor([[1.0, 1.0, 0.0]])
    assert route(capsules, there, 1).flatten().tolist() == pytest.approx([2.0, 1.0])
    agreement = [[1 * math.tanh(2), 0 * math.tanh(1)], [3 * math.tanh(2), 2 * math.tanh(1)]]
    share = [[math.exp(b) / sum(map(math.exp, row)) for b in row] for row in agreement]
    nodes = [
        (share[0][j] * float(capsules[0, 0, j]) + share[1][j] * float(capsules[0, 1, j])) / (share[0][j] + share[1][j])
        for j in range(2)
    ]
    assert route(capsules, there, 2).flatten().tolist() == pytest.approx(nodes)


def test_edges_are_divided_by_the_roots_of_both_degrees():
    edges = torch.tensor([[[1.0, 3.0], [3.0, 13.0]]])
    # Degrees 4 and 16.
    assert normalised_adjacency(edges)[0].tolist() == [[1 / 4, 3 / 8], [3 / 8, 13 / 16]]


def test_a_sequence_is_compressed_to_at_most_so_many_nodes():
    fusion = build_fusion("mods", {"dim": 6, "nodes": 4}, {"a": 3, "v": 5}, 2)
    assert fusion.compress["a"](torch.randn(2, 9, 3)).shape == (2, 4, 6)
    assert fusion.compress["v"](torch.randn(2, 3, 5)).shape == (2, 3, 6)
    assert fusion.head({"a": torch.randn(2, 9, 3), "v": torch.randn(2, 3, 5)}).shape == (2, 2)


def test_an_absent_modality_is_no_candidate_and_is_read_as_nothing():
    fusion = build_fusion("mods", {"dim": 6}, {"a": 3, "t": 3, "v": 5}, 2)
    inputs = {"a": torch.randn(2, 9, 3), "t": torch.randn(2, 4, 3), "v": torch.randn(2, 3, 5)}
    weight = fusion.read(inputs).weight
    assert torch.allclose(weight["a"] + weight["t"] + weight["v"], torch.ones(2))
    without = inputs | {"v": torch.zeros(2, 3, 5)}
    reading = fusion.read(without)
    assert (reading.weight["v"] == 0).all()
    assert torch.allclose(fusion.head(without), fusion.head(inputs | {"v": torch.zeros(2, 7, 5)}), atol=1e-5)
    sequences = {m: fusion.compress[m](x) for m, x in without.items()}
    pair = fusion.centred("a", {m: sequences[m] for m in ("a", "t")})
    assert torch.allclose(fusion.centred("a", sequences), pair, atol=1e-5)
    nothing = fusion.head({m: torch.zeros_like(x) for m, x in inputs.items()})
    assert torch.equal(nothing, fusion.out.bias.expand(2, 2))
    alone = fusion.read({m: x if m == "a" else torch.zeros_like(x) for m, x in inputs.items()})
    assert torch.equal(alone.weight["a"], torch.ones(2))


def test_the_primary_reads_itself_and_the_mean_of_the_others():
    fusion = build_fusion("mods", {"dim": 6, "layers": 1}, {"a": 3, "t": 3, "v": 5}, 2)
    h = {m: torch.randn(2, n, 6) for m, n in (("a", 4), ("t", 2), ("v", 3))}
    blocks = fusion.layers[0]["a"]
    expected = h["a"] + blocks["a"](h["a"], h["a"]) + (blocks["t"](h["a"], h["t"]) + blocks["v"](h["a"], h["v"])) / 2
    assert torch.allclose(fusion.centred("a", h), expected, atol=1e-6)


def test_own_decisions_are_those_beside_absent_modalities_but_read_nothing_of_them():
    fusion = build_fusion("mods", {"dim": 6, "layers": 2}, {"a": 3, "t": 3, "v": 5}, 2)
    inputs = {"a": torch.randn(4, 9, 3), "t": torch.randn(4, 4, 3), "v": torch.randn(4, 3, 5)}
    inputs["v"][1] = 0
    present = {m: (x != 0).flatten(1).any(dim=1) for m, x in inputs.items()}
    read = 0

    def count(*_: object) -> None:
        nonlocal read
        read += 1

    for block in (b for layer in fusion.layers for row in layer.values() for b in row.values()):
        block.register_forward_hook(count)
    logits = fusion.decide(inputs, present).logits
    # Each of 3 as the primary reads all 3 in both layers, and 2 answer in the first; alone it reads itself, twice.
    assert read == 3 * (2 * 3 + 2) + 3 * 2
    for m in inputs:
        beside = {n: x if n == m else torch.zeros_like(x) for n, x in inputs.items()}
        assert torch.allclose(logits[m], fusion.head(beside), atol=1e-6)


def test_the_contrast_is_against_other_classes_only():
    anchors = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    keys = torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 5.0]])
    candidates = torch.tensor([[True, False, True], [True, True, True]])
    found = contrast(anchors, keys, torch.tensor([0, 1]), candidates, temperature=0.5)
    first = -math.log(math.exp(2) / (math.exp(2) + 1))
    cosine = math.exp(2 / math.sqrt(2))
    second = -math.log(cosine / (1 + cosine + math.exp(2)))
    assert found.tolist() == pytest.approx([first, second], abs=1e-6)


def test_the_distance_is_a_mean_over_the_rows_that_have_the_modality(toy: Toy):
    made = session(toy({"audio": 6, "video": 4}))
    batch = next(made.run.train.epoch(0))
    batch.present["video"][:6] = False
    batch.inputs["video"][:6] = 0
    output = made.model(batch)
    found = float(made.method.distance("video", output, batch, made.run).detach())
    f = made.method.project["video"](output.reading.fused).detach()
    h = output.reading.own["video"].detach()
    losses = []
    for i in range(6, 16):
        odds = {
            j: math.exp(float(torch.cosine_similarity(f[i], h[j], dim=0)) / 0.2)
            for j in range(6, 16)
            if j == i or batch.labels[j] != batch.labels[i]
        }
        losses.append(-math.log(odds[i] / sum(odds.values())))
    assert found == pytest.approx(sum(losses) / 10, abs=1e-5)


def test_each_modality_also_decides_as_the_only_candidate(toy: Toy):
    made = session(toy({"audio": 6, "video": 4}), alpha=0.0, beta=0.6)
    batch = next(made.run.train.epoch(0))
    batch.present["video"][:6] = False
    output = made.model(batch)
    losses = made.method.losses(output, batch, Phase(made.model.modalities), made.run)
    assert list(losses) == ["fused", "alone"]
    expected = 0.0
    for m, rows in (("audio", range(16)), ("video", range(6, 16))):
        others_gone = made.model.without(output, {"audio", "video"} - {m})
        assert torch.equal(others_gone.reading.weight[m], torch.ones(16)) or m == "video"
        logits = others_gone.fused.log_softmax(dim=1).detach()
        expected += 0.6 / 2 * sum(-float(logits[i, batch.labels[i]]) for i in rows) / len(rows)
    assert float(losses["alone"].detach()) == pytest.approx(expected, rel=1e-5)


def test_shares_of_primary_modalities_are_reported_by_class(toy: Toy):
    made = session(toy({"audio": 6, "video": 4}))
    batch = next(made.run.train.epoch(0))
    output = made.model(batch)
    made.method.losses(output, batch, Phase(made.model.modalities), made.run)
    records = {name: values[0] for name, values in made.run.records.items()}
    audio = output.reading.weight["audio"] > output.reading.weight["video"]
    assert records["primary/audio"] == pytest.approx(float(audio.float().mean()))
    assert records["weight/audio"] + records["weight/video"] == pytest.approx(1)
    for c in batch.labels.unique().tolist():
        expected = float(audio[batch.labels == c].float().mean())
        assert records[f"primary[{'abc'[c]}]/audio"] == pytest.approx(expected)


def test_another_fusion_and_a_single_modality_are_refused(toy: Toy):
    store = toy({"audio": 6, "video": 4})
    with pytest.raises(ConfigError, match="selector"):
        Session(TrainConfig(data=str(store.path), method=Choice(name="mods"), device="cpu"))
    with pytest.raises(ConfigError, match="at least 2 modalities"):
        build_fusion("mods", {}, {"a": 3}, 2)


def alternating(out: Path) -> Store:
    """Of every sample one modality, now this, now that, holds the class and shows so; the other is noise."""
    out.mkdir(parents=True)
    random = np.random.default_rng(0)
    rows, classes = 600, 3
    labels = random.integers(0, classes, rows)
    first = random.random(rows) < 0.5
    centres = random.normal(size=(2, classes, 6)) * 3
    arrays = {}
    for side, m in enumerate(("left", "right")):
        telling = first if side == 0 else ~first
        values = random.normal(size=(rows, 6)) + telling[:, None] * centres[side, labels]
        arrays[m] = np.concatenate([values, telling[:, None] * 3.0], axis=1).astype(np.float32)
        np.save(out / f"{m}.npy", arrays[m])
    table = {
        "labels": labels,
        "ids": np.arange(rows).astype(str),
        "split": np.array(["train", "train", "val", "test"])[np.arange(rows) % 4],
    } | {f"present_{m}": np.ones(rows, dtype=bool) for m in arrays}
    specs = {m: ModalitySpec(kind="features", shape=(7,)) for m in arrays}
    seal(out, name="alternating", classes=("a", "b", "c"), modalities=specs, rows=table, meta={})
    return Store.open(out)


def test_the_informative_modality_becomes_primary(tmp_path: Path):
    store = alternating(tmp_path / "store")
    made = session(store, beta=0.0)  # own decisions could only learn noise by heart here
    config = made.config.model_copy(update={"epochs": 12, "optimiser": OptimiserConfig(lr=0.02)})
    result = train(config, out=tmp_path / "run")
    assert result.summary["test"]["accuracy"] > 0.9
    made.folder = result.folder
    made.model.load_state_dict(torch.load(result.folder / "checkpoint.pt", weights_only=True)["model"])
    rows = store.rows("test")
    batch = made.run.train.gather(rows)
    weight = made.model.eval()(batch).reading.weight
    telling = torch.from_numpy(store.arrays["left"][rows][:, 6] > 1)
    assert float(((weight["left"] > weight["right"]) == telling).float().mean()) > 0.8
