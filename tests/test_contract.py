"""What no registered member escapes: every method, fusion and encoder, whoever wrote it and whenever it came."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_of_two import trained
from worlds import config_for

from mmbal.data.store.store import ModalitySpec, Store, seal
from mmbal.engine.checkpoint import load_model
from mmbal.engine.config import Choice
from mmbal.engine.decisions import loader_of
from mmbal.engine.dry_run import dry_run
from mmbal.engine.evaluate import collect
from mmbal.engine.saving import Saving
from mmbal.engine.session import Session
from mmbal.engine.train import resume, train
from mmbal.errors import Interrupted
from mmbal.methods.base import Run, Stage, chosen, parts
from mmbal.models.encoders import build_encoder
from mmbal.models.multimodal import build_model
from mmbal.predictions.format import Predictions, subsets_of
from mmbal.registry import encoders, fusions, methods
from mmbal.runs import find_predictions

ROOT = Path(__file__).parents[1]
TWO = {"audio": 6, "video": 4}
MODES = {"audio": Choice(name="cnn", width=4), "video": Choice(name="mlp", hidden=16, dim=8, dropout=0.3)}
THREE = {"audio": 6, "text": 5, "video": 4}

Toy = Callable[..., Store]


@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of small pictures and feature vectors; the encoders :data:`MODES` of it differ in training and evaluation.

    The one for pictures has batch normalisation, the one for vectors dropout.
    """
    out, rows, random = tmp_path_factory.mktemp("stores") / "moody", 96, np.random.default_rng(0)
    out.mkdir()
    labels = random.integers(0, 3, rows)
    specs = {}
    for m, kind, shape in (("audio", "spectrogram", (1, 8, 8)), ("video", "features", (5,))):
        values = (random.normal(size=(3, *shape))[labels] + random.normal(size=(rows, *shape))).astype(np.float32)
        np.save(out / f"{m}.npy", values)
        specs[m] = ModalitySpec(kind=kind, shape=shape)
    table = {"labels": labels, "ids": np.arange(rows).astype(str)}
    table["split"] = np.array(["train", "train", "val", "test"])[np.arange(rows) % 4]
    table |= {f"present_{m}": np.ones(rows, dtype=bool) for m in specs}
    seal(out, name="moody", classes=("a", "b", "c"), modalities=specs, rows=table, meta={})
    return Store.open(out)


def two_stages(epochs: int) -> list[Stage]:
    return [Stage("first", epochs // 2), Stage("second", epochs - epochs // 2)]


def in_two_processes(script: str, *arguments: Any) -> list[tuple[int, str]]:
    """Exit code and standard error of a script of this folder, run by two processes that share their batches."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, str(Path(__file__).parent / script), *map(str, arguments)]
    processes = [
        subprocess.Popen(command, env=shared | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [p.communicate(timeout=300)[1] for p in processes]
    return [(p.returncode, error) for p, error in zip(processes, errors, strict=True)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path / "last.pt", weights_only=True)["model"]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("dims", [TWO, THREE], ids=["M=2", "M=3"])
@pytest.mark.parametrize("name", methods.names())
def test_every_loss_is_finite_and_reaches_a_parameter(name: str, dims: dict[str, int], toy: Toy):
    session = Session(config_for(name, toy(dims)))
    run, method, model = session.run, session.method, session.model
    stage = run.stage = method.stages(2)[0]
    modules = parts(model, method)
    active = chosen(modules, stage.train)
    learning = [p for n in sorted(active) for p in modules[n].parameters() if p.requires_grad]
    run.optimiser = torch.optim.SGD(learning, lr=0.1)
    method.train()
    method.on_epoch_start(run)
    batch = method.on_batch(next(run.train.epoch(0, method.sampler(run))), run)
    for phase in method.phases(run):
        features = method.on_features(model.encode(batch, phase.modalities), batch, run)
        losses = method.losses(method.fuse(model.decide(features, batch.present)), batch, phase, run)
        assert losses
        for key, loss in losses.items():
            assert loss.dim() == 0
            assert torch.isfinite(loss), key
            found = torch.autograd.grad(loss, learning, allow_unused=True, retain_graph=True)
            assert any(g is not None for g in found), f"the loss '{key}' reaches no parameter"


@pytest.mark.parametrize("name", methods.names())
def test_encoders_run_once_a_phase(name: str, toy: Toy, monkeypatch: pytest.MonkeyPatch):
    session = Session(config_for(name, toy(TWO), epochs=1))
    calls = dict.fromkeys(session.model.modalities, 0)
    for m, encoder in session.model.encoders.items():
        original = encoder.tokens

        def counted(inputs: torch.Tensor, m: str = m, original: Any = original) -> torch.Tensor:
            calls[m] += int(session.method.training and torch.is_grad_enabled())
            return original(inputs)

        monkeypatch.setattr(encoder, "tokens", counted)
    session.fit()
    phases = session.run.step
    assert all(0 < n <= phases for n in calls.values()), (calls, phases)


@pytest.mark.parametrize("name", methods.names())
def test_a_dry_run_works(name: str, toy: Toy):
    found = dry_run(config_for(name, toy(TWO)))
    assert found["seconds_estimated"] > 0
    assert found["config"]["method"]["name"] == name


@pytest.mark.parametrize("name", methods.names())
def test_the_order_of_modalities_does_not_matter(name: str, toy: Toy, tmp_path: Path):
    store = toy(THREE)
    orders = [("audio", "text", "video"), ("video", "audio", "text")]
    found = [
        find_predictions(train(config_for(name, store, modalities=order), out=tmp_path / order[0]).folder)
        for order in orders
    ]
    assert np.abs(found[0].fused - found[1].fused).max() < 1e-3
    for m in orders[0]:
        assert np.abs(found[0].logits[m] - found[1].logits[m]).max() < 1e-3


@pytest.mark.parametrize("name", [e.name for e in methods if e.about.off is not None])
def test_off_is_joint_training_bit_for_bit(name: str, toy: Toy, tmp_path: Path):
    store = toy(TWO)
    off = Choice(name=name, **methods.entry(name).about.off)
    fusion = config_for(name, store).fusion
    train(config_for(name, store, method=off), out=tmp_path / "off")
    train(config_for("joint", store, fusion=fusion), out=tmp_path / "joint")
    assert equal(weights(tmp_path / "off"), weights(tmp_path / "joint"))


@pytest.mark.parametrize("name", methods.names())
def test_all_that_learns_is_in_training_mode_at_every_step(name: str, moody: Store, monkeypatch: pytest.MonkeyPatch):
    """Two stages of two epochs each, with a pass over the validation split after each epoch."""
    session = Session(config_for(name, moody, encoder=MODES, epochs=4, batch_size=24))
    run, method = session.run, session.method
    if len(method.stages(4)) == 1:
        monkeypatch.setattr(method, "stages", two_stages)
    seen: list[tuple[int, set[str]]] = []
    backward = method.backward

    def watched(losses: Any, run: Run) -> None:
        evaluated = {
            f"{part}.{path}"
            for part, module in parts(run.model, method).items()
            for path, inner in module.named_modules()
            if not inner.training and any(p.requires_grad for p in module.parameters())
        }
        seen.append((run.epoch, evaluated))
        backward(losses, run)

    monkeypatch.setattr(method, "backward", watched)
    session.fit()
    assert {epoch for epoch, _ in seen} == {0, 1, 2, 3}
    assert all(not evaluated for _, evaluated in seen), seen
    assert run.step == len(seen)


@pytest.mark.parametrize("name", methods.names())
def test_looking_at_data_leaves_every_mode_as_it_was(name: str, moody: Store):
    session = Session(config_for(name, moody, encoder=MODES, freeze_encoders=True))
    modules = [m for part in parts(session.model, session.method).values() for m in part.modules()]
    for k, module in enumerate(modules):
        module.training = k % 3 == 0
    session.run.evaluate(session.run.validation)
    session.decisions.on("val")
    assert [m.training for m in modules] == [k % 3 == 0 for k in range(len(modules))]


@pytest.mark.parametrize("name", methods.names())
def test_two_epochs_and_two_more_are_four_bit_for_bit(name: str, moody: Store, tmp_path: Path):
    config = config_for(name, moody, encoder=MODES, epochs=4, batch_size=24)

    def stop(steps: int, message: str) -> None:
        if message.startswith("epoch 2"):
            raise KeyboardInterrupt

    train(config, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "parts", report=stop)
    with pytest.raises(Interrupted, match="after batch 1;"):  # within the third epoch
        resume(tmp_path / "parts", saving=Saving(deadline=0))
    resume(tmp_path / "parts")
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    for file in ("metrics.jsonl", "config.yaml"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()
    a, b = (Predictions.load(tmp_path / x / "predictions" / "test.npz") for x in ("whole", "parts"))
    assert np.array_equal(a.fused, b.fused)


@pytest.mark.parametrize("name", methods.names())
def test_a_saved_model_decides_as_the_trained_one(name: str, toy: Toy, tmp_path: Path):
    result = train(config_for(name, toy(TWO)), out=tmp_path / "run")
    loaded = load_model(result.folder)
    loader = loader_of(loaded.config, Store.open(loaded.config.data), "test", torch.device("cpu"))
    again = collect(loaded.model, loaded.method, loader, torch.device("cpu"))
    saved = Predictions.load(result.folder / "predictions" / "test.npz")
    for m in saved.modalities:
        assert np.allclose(again.logits[m], saved.logits[m], atol=1e-5)
    if loaded.rule is None:
        assert np.allclose(again.fused, saved.fused, atol=1e-5)


@pytest.mark.parametrize("dims", [pytest.param(TWO, marks=pytest.mark.long), THREE], ids=["M=2", "M=3"])
def test_two_processes_on_shares_of_a_batch_are_one_on_the_whole(dims: dict[str, int], toy: Toy, tmp_path: Path):
    """Of samples that lack modalities, so that the shares have unlike numbers of each; a batch has 8 and 7 of them."""
    store = toy(dims, rows=96, missing=0.3)
    errors = in_two_processes("one_of_two.py", store.path, tmp_path)
    assert not any(code for code, _ in errors), errors
    differing = {}
    for name in methods.names():
        one, two = tmp_path / f"one-{name}", tmp_path / f"two-{name}"
        trained(name, store, one)
        a, b = (Predictions.load(run / "predictions" / "test.npz") for run in (one, two))
        gap = max(
            float(np.abs(x - y).max()) for x, y in [(a.fused, b.fused), *((a.logits[m], b.logits[m]) for m in dims)]
        )
        figures = [
            [json.loads(line)["train"] for line in (run / "metrics.jsonl").read_text().splitlines()]
            for run in (one, two)
        ]
        same = all(x == pytest.approx(y, rel=1e-3, abs=1e-5) for x, y in zip(*figures, strict=True))
        if gap > 1e-4 or not same:
            differing[name] = gap
    assert not differing


@pytest.mark.parametrize("name", methods.names())
def test_the_page_says_where_it_is_from_and_what_it_does(name: str):
    entry = methods.entry(name)
    text = sys.modules[entry.cls.__module__].__doc__ or ""
    assert entry.about.paper in text
    assert re.search(r"^ {4}\S.*[=<]", text, re.MULTILINE), "no formula"
    assert "Deviations:" in text
    assert entry.about.status in ("exact", "with stated deviations", "our instantiation")
    if entry.about.status == "our instantiation":
        assert "our instantiation" in text
    (row,) = re.findall(rf"^\| `{name}` .*$", (ROOT / "REPRODUCIBILITY.md").read_text(), re.MULTILINE)
    assert len(row) < 250, "no line that is read at a glance"
    assert "](docs/" in row, "no link to the details"
    for key, field in entry.cls.Config.model_fields.items():
        assert field.description, f"{key} is not described"


@pytest.mark.parametrize("dims", [TWO, THREE], ids=["M=2", "M=3"])
@pytest.mark.parametrize("name", fusions.names())
def test_a_fusion_accounts_for_its_decision(name: str, dims: dict[str, int], toy: Toy):
    store = toy(dims)
    session = Session(config_for("joint", store, fusion=Choice(name=name)))
    found = session.decisions.on("test")
    assert found.fused.shape == (len(found), 3)
    assert np.allclose(sum(found.contribution.values()), found.fused, atol=1e-4)
    if not fusions.entry(name).about.additive and session.model.fusion.rule is None:
        assert set(found.subsets) == set(subsets_of(found.modalities))
        for m in dims:
            assert np.allclose(found.subsets[(m,)], found.logits[m], atol=1e-5)
    losses = session.model.fusion.losses(
        session.model(next(session.run.train.epoch(0))), torch.zeros(16, dtype=torch.long)
    )
    torch.stack(list(losses.values())).sum().backward()
    for part, parameter in session.model.named_parameters():
        assert parameter.grad is not None, f"{part} never learns"


@pytest.mark.parametrize("name", fusions.names())
def test_a_fusion_bears_missing_modalities(name: str, toy: Toy):
    session = Session(config_for("joint", toy(THREE), fusion=Choice(name=name)))
    batch = next(session.run.train.epoch(0))
    batch.present["video"][:4] = False
    batch.inputs["video"][:4] = 0
    output = session.model.eval()(batch)
    assert torch.isfinite(output.fused).all()
    assert (output.features["video"][:4] == 0).all()
    whole = session.model.without(output, {"video"})
    assert torch.allclose(whole.fused[:4], output.fused[:4], atol=1e-5)


SHAPES = {
    "spectrogram": (1, 24, 32),
    "image": (1, 28, 28),
    "frames": (3, 3, 24, 24),
    "sequence": (7, 5),
    "features": (9,),
    "text": (12,),
}


@pytest.mark.parametrize(("name", "kind"), [(e.name, k) for e in encoders for k in sorted(e.about.kinds)])
def test_an_encoder_gives_tokens_and_their_mean(name: str, kind: Any):
    preprocessing = {"vocabulary": 30} if kind == "text" else {}
    spec = ModalitySpec(kind=kind, shape=SHAPES[kind], preprocessing=preprocessing)
    encoder = build_encoder(spec, name, {}).eval()
    inputs = torch.randint(0, 30, (2, 12)) if kind == "text" else torch.randn(2, *SHAPES[kind])
    tokens, feature = encoder.tokens(inputs), encoder(inputs)
    assert tokens.shape[::2] == (2, encoder.dim)
    assert torch.allclose(tokens.mean(dim=1), feature, atol=1e-5)
    assert encoder.stages
    feature.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_a_part_starts_alike_whatever_stands_beside_it():
    def encoder_weights(names: tuple[str, ...]) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        specs = {m: ModalitySpec(kind="features", shape=(4,)) for m in names}
        model = build_model(specs, 2, {m: ("mlp", {}) for m in names}, ("concat", {}))
        return model.encoders["b"].state_dict()

    assert equal(encoder_weights(("a", "b", "c")), encoder_weights(("b", "a")))
