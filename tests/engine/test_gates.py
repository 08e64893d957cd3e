"""Weights by sample that a model decides with: they are handed out, and exchanged to see what they add."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from worlds import config_for

from mmbal.data.store.loader import Loader
from mmbal.data.store.store import ModalitySpec, Store, seal
from mmbal.diagnosis import diagnose
from mmbal.engine.evaluate import collect
from mmbal.engine.session import Session
from mmbal.models.fusion import build_fusion
from mmbal.models.multimodal import MultimodalClassifier
from mmbal.registry import fusions, methods

GATED = {"gated", "mods", "mods_light", "attention_lt", "attention_it", "attention_ia"}


@pytest.mark.parametrize("name", fusions.names())
def test_a_fusion_decides_by_the_gates_that_it_is_given(name):
    dims = {"a": 6, "v": 4}
    torch.manual_seed(0)
    fusion = build_fusion(name, {}, dims, 3).eval()
    tokens = fusion.takes == "tokens"
    inputs = {m: torch.randn(5, *([4] if tokens else []), d) for m, d in dims.items()}
    gates = fusion.gates(inputs)
    assert bool(gates) == (name in GATED)
    if gates:
        others = {key: gate.flip(0) for key, gate in gates.items()}
        assert torch.allclose(fusion.gated_head(inputs, gates), fusion.head(inputs), atol=1e-6)
        assert not torch.allclose(fusion.gated_head(inputs, others), fusion.head(inputs), atol=1e-6)
        assert all(w.shape == (5,) for w in fusion.sample_weights(gates).values())


@pytest.mark.parametrize("name", ["qmf", "pdf", "mla", "dyncim"])
def test_methods_with_weights_by_sample_give_them(name, toy):
    session = Session(config_for(name, toy({"a": 6, "v": 4})))
    with torch.no_grad():  # some gates start even
        for parameter in session.method.parameters():
            parameter.add_(torch.randn_like(parameter))
    found = session.decisions.on("test")
    assert set(found.weights) == {"a", "v"}
    if name != "dyncim":  # which weighs the parts of the decision
        fused = sum(found.weights[m][:, None] * found.logits[m] for m in found.modalities)
        assert np.allclose(fused, found.fused, atol=1e-5)
    assert diagnose(found, bootstrap=100, rule="temperature").gate is not None


class Same(nn.Module):
    """An encoder that gives what it gets."""

    dim = 1

    def forward(self, x):
        return x


def signs(folder, informed):
    """A store of two classes: the first modality is the class as -1 or 1 where ``informed``, the second is always 1."""
    folder.mkdir()
    labels = np.repeat([0, 1], 100)  # sorted by class, as many stores are
    sign = np.where((labels if informed else np.tile([0, 1], 100)) == 0, -1.0, 1.0)
    np.save(folder / "a.npy", sign[:, None].astype(np.float32))
    np.save(folder / "v.npy", np.ones((200, 1), dtype=np.float32))
    rows = {"labels": labels, "split": np.full(200, "test"), "ids": np.arange(200).astype(str)}
    rows |= {f"present_{m}": np.ones(200, dtype=bool) for m in "av"}
    specs = {m: ModalitySpec(kind="features", shape=(1,)) for m in "av"}
    seal(folder, name="signs", classes=("x", "y"), modalities=specs, rows=rows, meta={})
    return Store.open(folder)


def test_a_gate_that_matters_is_seen_to_matter(tmp_path, monkeypatch):
    """The gate opens one hidden unit for each class; with the gate of another sample the class is right half of the time."""
    fusion = build_fusion("gated", {"dim": 2, "by": "a"}, {"a": 1, "v": 1}, 2)
    with torch.no_grad():
        fusion.project["a"].weight.copy_(torch.tensor([[-9.0], [9.0]]))
        fusion.project["v"].weight.copy_(torch.tensor([[4.0], [4.0]]))
        fusion.out.weight.copy_(torch.eye(2))
    model = MultimodalClassifier({"a": Same(), "v": Same()}, fusion)
    method = methods.get("joint")(model)
    store = signs(tmp_path / "signs", informed=True)
    found = collect(model, method, Loader(store, "test", 16), torch.device("cpu"), exchange=True)
    assert not found.weights  # one unit open, one shut: the mean gate is the same in every sample
    said = diagnose(found, bootstrap=200, rule="temperature")
    # half of the samples get the gate of their own class, and else the logits are the wrong way round by 4
    assert said.gate.accuracy.value == pytest.approx(0.5, abs=0.1)
    assert said.gate.log_likelihood.value == pytest.approx(4 * said.gate.accuracy.value, rel=0.01)
    assert "The gate matters: " in " ".join(said.verdict)
    collected = collect(model, method, Loader(store, "test", 7), torch.device("cpu"), exchange=True)
    assert np.allclose(collected.exchanged, found.exchanged)  # not within batches: these are of one class each
    monkeypatch.setattr("mmbal.engine.evaluate.MOST_OF_GATES", 2 * 200 - 1)
    assert collect(model, method, Loader(store, "test", 16), torch.device("cpu"), exchange=True).exchanged is None
    found.save(tmp_path / "p.npz")
    assert np.allclose(type(found).load(tmp_path / "p.npz").exchanged, found.exchanged)
